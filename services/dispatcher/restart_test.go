package dispatcher_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/custody/mark"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

func TestRestartSendsOnlyWhatIsUnsettled(t *testing.T) {
	t.Parallel()
	y := setup(t)
	fast := y.host("fast.example.org", mxsim.HostConfig{})
	slow := y.host("slow.example.org", mxsim.HostConfig{Script: mxsim.At(mxsim.Greeting, mxsim.Reply{Delay: time.Hour})})
	y.dns.MX("fast.example", "fast.example.org")
	y.dns.MX("slow.example", "slow.example.org")
	next := y.outcomes(lane.Bulk)
	const n = 30
	for range n {
		y.send(lane.Bulk, "ana@fast.example")
		y.send(lane.Bulk, "ana@slow.example")
	}
	for range n {
		if ev := next(); ev.GetType() != delivered {
			t.Fatalf("event %v", ev)
		}
	}
	y.stop()
	slow.SetScript(nil)
	y.start()
	seen := map[string]int{}
	for range n {
		ev := next()
		if ev.GetType() != delivered {
			t.Fatalf("event %v", ev)
		}
		seen[ev.GetMailId()]++
	}
	y.settled(lane.Bulk, 2*n)
	if len(seen) != n || fast.Stats().Mails != n || slow.Stats().Mails != n {
		t.Errorf("%d mails seen after the restart, fast %d, slow %d: want each once", len(seen), fast.Stats().Mails, slow.Stats().Mails)
	}
}

// A new owner that finds no commit, as after a crash before the first one,
// learns from the journal what is settled, whatever it was settled as.
func TestNewOwnerReadsTheJournal(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.To("later@*", mxsim.Reply{Code: 450, Text: "later"})})
	y.dns.MX("example.org", "mx.example.org")
	next, wait := y.outcomes(lane.Reminder), y.deferrals(lane.Reminder)
	for i := range 10 {
		to := "ana@example.org"
		if i%2 == 1 {
			to = "later@example.org"
		}
		y.send(lane.Reminder, to)
		next()
	}
	for range 5 {
		wait()
	}
	y.stop()
	took, refused := mx.Stats().Mails, mx.Stats().Refused
	y.cfg.Group = "another.%s"
	y.start()
	again := map[string]bool{}
	for range 5 {
		d := wait() // the waiting room drops what it has
		again[fmt.Sprint(d.GetEnvelope().GetMailId(), d.GetEnvelope().GetAttempt(), d.GetEnvelope().GetTries())] = true
	}
	last := y.send(lane.Reminder, "ana@example.org")
	want(t, next(), last, delivered)
	if mx.Stats().Mails != took+1 || mx.Stats().Refused != refused || len(again) != 5 {
		t.Errorf("after the change of owner %+v, before it %d and %d; %d deferrals again", mx.Stats(), took, refused, len(again))
	}
}

// A mail found committing, with nothing after it, is held or sent again as its
// lane says.
func TestNewOwnerFindsAMailInDoubt(t *testing.T) {
	t.Parallel()
	y := build(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{})
	y.dns.MX("example.org", "mx.example.org")
	for _, name := range []string{lane.Billing, lane.OTP} {
		e := y.send(name, "ana@example.org")
		m, err := y.codec.Outcome(&eventsv1.Event{
			EventId: "c", Type: committing, MailId: e.GetMailId(), Tenant: e.GetTenant(), Lane: e.GetLane(), Attempt: 1, Sequence: 1,
			OccurredAt: e.GetAcceptedAt(), Facts: e.GetFacts(), Detail: &eventsv1.Event_AttemptDetail{AttemptDetail: &eventsv1.Attempt{}},
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := y.producer.Produce(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	y.start()
	bills, codes := y.outcomes(lane.Billing), y.outcomes(lane.OTP)
	bills()
	if ev := bills(); ev.GetType() != held {
		t.Errorf("the bill: %v, want held", ev)
	}
	codes()
	if ev := codes(); ev.GetType() != delivered || !ev.GetAttemptDetail().GetPossibleDuplicate() {
		t.Errorf("the code: %v, want delivered, possibly twice", ev)
	}
	if mx.Stats().Mails != 1 {
		t.Errorf("%d mails, want the code alone", mx.Stats().Mails)
	}
}

// A bill that was at the dot when its owner lost its lease is not held when that
// owner, which lives, tells how it ended only after the takeover.
func TestNewOwnerHearsALateWord(t *testing.T) {
	t.Parallel()
	y := build(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{})
	y.dns.MX("example.org", "mx.example.org")
	e := y.send(lane.Billing, "ana@example.org")
	tell := func(kind eventsv1.EventType) {
		m, err := y.codec.Outcome(&eventsv1.Event{
			EventId: kind.String(), Type: kind, MailId: e.GetMailId(), Tenant: e.GetTenant(), Lane: e.GetLane(), Attempt: 1, Sequence: 1,
			OccurredAt: e.GetAcceptedAt(), Facts: e.GetFacts(), Detail: &eventsv1.Event_AttemptDetail{AttemptDetail: &eventsv1.Attempt{}},
		}, 0)
		if err == nil {
			_, err = y.producer.Produce(t.Context(), m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tell(committing)
	second := y.send(lane.Billing, "ana@example.org")
	y.start()
	next := y.outcomes(lane.Billing)
	want(t, next(), e, committing)
	want(t, next(), second, committing) // the partition is taken over, and read back
	want(t, next(), second, delivered)
	tell(delivered)
	want(t, next(), e, delivered)
	y.settled(lane.Billing, 2)
	third := y.send(lane.Billing, "ana@example.org")
	want(t, next(), third, committing) // and not the first one held
	want(t, next(), third, delivered)
	if got := mx.Stats().Mails; got != 2 {
		t.Errorf("%d mails taken, want the two that were not at the dot", got)
	}
}

// What a dispatcher had begun that ended without a word may go out twice, and
// says so; what it had not, or what a committing note would tell of, does not.
func TestNewOwnerMarksWhatMayHaveBeenSent(t *testing.T) {
	t.Parallel()
	for name, marked := range map[string]int{lane.OTP: 2, lane.Bulk: 2, lane.Billing: 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := build(t)
			y.host("mx.example.org", mxsim.HostConfig{})
			y.dns.MX("example.org", "mx.example.org")
			may := map[string]bool{}
			for i := range 4 {
				may[y.send(name, "ana@example.org").GetMailId()] = i < marked
			}
			left := mark.Mark{Limit: 100, Tried: 2}
			res, err := y.client.Kafka().OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
				GroupID: "kurir.dispatcher." + name, GenerationID: -1,
				Topics: map[string][]kafka.OffsetCommit{y.client.Topics().Lane(name): {{Offset: left.Low, Metadata: left.Encode()}}},
			})
			if err != nil || res.Topics[y.client.Topics().Lane(name)][0].Error != nil {
				t.Fatal(err, res)
			}
			y.start()
			next := y.outcomes(name)
			for seen := 0; seen < len(may); {
				ev := next()
				if ev.GetType() != delivered {
					continue
				}
				seen++
				if got := ev.GetAttemptDetail().GetPossibleDuplicate(); got != may[ev.GetMailId()] {
					t.Errorf("%s: possible duplicate %v, want %v", ev.GetMailId(), got, may[ev.GetMailId()])
				}
			}
			y.stop()
			y.start()
			e := y.send(name, "ana@example.org")
			for ev := next(); ; ev = next() {
				if ev.GetType() != delivered {
					continue
				}
				if ev.GetMailId() != e.GetMailId() || ev.GetAttemptDetail().GetPossibleDuplicate() {
					t.Errorf("after a clean stop %v, want the new mail alone, and no doubt", ev)
				}
				break
			}
		})
	}
}

func TestStopEndsWhatIsOnTheWire(t *testing.T) {
	t.Parallel()
	y := setup(t)
	asked := make(chan struct{}, 1)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: func(e mxsim.Event) mxsim.Reply {
		if e.Stage != mxsim.Dot {
			return mxsim.Reply{}
		}
		asked <- struct{}{}
		return mxsim.Reply{Delay: 200 * time.Millisecond}
	}})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.OTP)
	e := y.send(lane.OTP, "ana@example.org")
	<-asked
	y.stop()
	want(t, next(), e, delivered)
	y.settled(lane.OTP, 1)
	if err := mx.Wait(context.Background(), func(s mxsim.Stats) bool { return s.Open == 0 }); err != nil {
		t.Error(err)
	}
}

// A copy that may be the second says so, though the mail waited between.
func TestDoubtOutlivesADeferral(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.DropAfterDot(2)})
	y.dns.MX("example.org", "mx.example.org")
	next, waits := y.outcomes(lane.Bulk), y.deferrals(lane.Bulk)
	e := y.send(lane.Bulk, "ana@example.org")
	want(t, next(), e, attempted) // goes again at once, and is lost again
	if got := want(t, next(), e, deferred); !got.GetPossibleDuplicate() {
		t.Errorf("the deferral of %v, want a possible duplicate", got)
	}
	back := waits().GetEnvelope()
	if !back.GetPossibleDuplicate() {
		t.Error("the deferred mail has forgotten its doubt")
	}
	y.submit(back)
	if got := want(t, next(), e, delivered); !got.GetPossibleDuplicate() {
		t.Errorf("delivered as %v, want a possible duplicate", got)
	}
	if got := mx.Stats().Mails; got != 3 {
		t.Errorf("%d mails taken, want two without a reply and one with", got)
	}
}

// What was in doubt when a process died is in doubt for the next owner, on
// lanes that send again, too.
func TestDoubtOutlivesACrash(t *testing.T) {
	t.Parallel()
	for _, name := range []string{lane.OTP, lane.Bulk} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := setup(t)
			mx := y.host("mx.example.org", mxsim.HostConfig{Script: func(e mxsim.Event) mxsim.Reply {
				switch {
				case e.Stage == mxsim.Dot:
					return mxsim.Reply{Drop: true}
				case e.Stage == mxsim.Greeting && e.Conn > 1:
					return mxsim.Reply{Delay: time.Hour}
				}
				return mxsim.Reply{}
			}})
			y.dns.MX("example.org", "mx.example.org")
			next := y.outcomes(name)
			// The second copy meets a host that says nothing any more, and so
			// it is under way still when its owner ends without a commit.
			e := y.send(name, "ana@example.org")
			want(t, next(), e, attempted)
			y.stop()
			mx.SetScript(nil)
			y.start()
			if got := want(t, next(), e, delivered); !got.GetPossibleDuplicate() {
				t.Errorf("delivered as %v, want a possible duplicate", got)
			}
		})
	}
}

// A bill in doubt is not sent again: it waits for a decision, and is marked.
func TestHeldMailIsMarked(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.DropAfterDot(1)})
	y.dns.MX("example.org", "mx.example.org")
	next, waits := y.outcomes(lane.Billing), y.deferrals(lane.Billing)
	e := y.send(lane.Billing, "ana@example.org")
	want(t, next(), e, committing)
	want(t, next(), e, held)
	d := waits()
	if !d.GetHeld() || !d.GetEnvelope().GetPossibleDuplicate() || d.GetDueAt() != nil {
		t.Errorf("deferral %v, want it held without a due time and marked", d)
	}
	back := d.GetEnvelope()
	y.submit(back) // somebody decides to send it all the same
	want(t, next(), e, committing)
	if got := want(t, next(), e, delivered); !got.GetPossibleDuplicate() || mx.Stats().Mails != 2 {
		t.Errorf("delivered as %v, want a possible duplicate", got)
	}
}
