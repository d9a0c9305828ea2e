package mail_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/services/tracker/internal/mail"
)

// TestNext walks the full product of states and types.
func TestNext(t *testing.T) {
	t.Parallel()
	targets := map[mail.Type]mail.State{
		mail.Accepted: mail.Queued, mail.ScheduledFor: mail.Scheduled, mail.Released: mail.Queued,
		mail.Attempted: mail.Queued, mail.Committing: mail.Queued, mail.DeferredFor: mail.Deferred, mail.HeldBack: mail.Held,
		mail.DeliveredTo: mail.Delivered, mail.BouncedBack: mail.Bounced, mail.RanOut: mail.Expired,
		mail.CalledOff: mail.Cancelled, mail.Stopped: mail.Suppressed,
	}
	for s := mail.Unknown; s <= mail.Suppressed; s++ {
		for typ := mail.NoType; int(typ) <= mail.Types; typ++ { // one beyond what is known
			to, moves := targets[typ]
			wantState, wantVerdict := s, mail.Stays
			switch {
			case s.Final() && moves && to.Final():
				wantVerdict = mail.Late
			case s.Final():
			case moves:
				wantState, wantVerdict = to, mail.Moves
			case s == mail.Held && typ == mail.Decided:
				wantState, wantVerdict = mail.Deferred, mail.Moves
			}
			if got, verdict := mail.Next(s, typ); got != wantState || verdict != wantVerdict {
				t.Errorf("Next(%v, %v) = %v %v, want %v %v", s, typ, got, verdict, wantState, wantVerdict)
			}
		}
	}
}

// TestDiagram compares docs/states.md with the table: every move is drawn, and
// nothing else is.
func TestDiagram(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../../docs/states.md")
	if err != nil {
		t.Fatalf("reading the diagram: %v", err)
	}
	part := regexp.MustCompile(`(?s)## Mails.*?## Invoices`).Find(doc)
	var drawn []string
	for _, m := range regexp.MustCompile(`(?m)^\s+([A-Z]+) --> ([A-Z]+): (.+)$`).FindAllSubmatch(part, -1) {
		for _, typ := range regexp.MustCompile(`[A-Z_]+`).FindAllString(string(m[3]), -1) {
			drawn = append(drawn, fmt.Sprintf("%s -%s-> %s", m[1], typ, m[2]))
		}
	}
	var table []string
	for s := mail.Unknown; s <= mail.Suppressed; s++ {
		for typ := mail.NoType; int(typ) < mail.Types; typ++ {
			if to, verdict := mail.Next(s, typ); verdict == mail.Moves && to != s {
				table = append(table, fmt.Sprintf("%s -%s-> %s", s, typ, to))
			}
		}
	}
	slices.Sort(drawn)
	slices.Sort(table)
	if diff := cmp.Diff(table, drawn); diff != "" {
		t.Errorf("docs/states.md differs from the table (-table +drawn):\n%s", diff)
	}
}

func TestApplyOutOfOrder(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	event := func(typ mail.Type, attempt uint32, after time.Duration) mail.Event {
		return mail.Event{Type: typ, Attempt: attempt, At: at.Add(after)}
	}
	for _, c := range []struct {
		name   string
		events []mail.Event
		want   mail.State
	}{
		{"released before the deferral is seen", []mail.Event{
			event(mail.Released, 2, time.Minute), event(mail.DeferredFor, 1, time.Second),
		}, mail.Queued},
		{"deferred before the acceptance is seen", []mail.Event{
			event(mail.DeferredFor, 1, time.Second), event(mail.Accepted, 0, 0),
		}, mail.Deferred},
		{"committing after the deferral of the same attempt, clocks astray", []mail.Event{
			event(mail.DeferredFor, 1, time.Second), event(mail.Committing, 1, 2*time.Second),
		}, mail.Deferred},
		{"held, then let go again", []mail.Event{
			event(mail.HeldBack, 1, time.Second), event(mail.Decided, 1, time.Minute),
		}, mail.Deferred},
		{"let go again is seen before held", []mail.Event{
			event(mail.Decided, 1, time.Minute), event(mail.DeferredFor, 1, 2*time.Minute), event(mail.HeldBack, 1, time.Second),
		}, mail.Deferred},
		{"final before everything", []mail.Event{
			event(mail.DeliveredTo, 1, time.Second), event(mail.Accepted, 0, 0), event(mail.DeferredFor, 7, time.Hour),
		}, mail.Delivered},
		{"opened before all else", []mail.Event{event(mail.Opened, 0, time.Hour), event(mail.ScheduledFor, 0, 0)}, mail.Scheduled},
	} {
		var m mail.Mail
		for _, e := range c.events {
			m.Apply(e)
		}
		if m.State != c.want {
			t.Errorf("%s: state = %v, want %v", c.name, m.State, c.want)
		}
	}
}

func TestApplyKeepsWhatIsKnown(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	m := mail.Mail{Tenant: "t", ID: "m"}
	m.Apply(mail.Event{Type: mail.Opened, At: at.Add(time.Hour), Hit: &mail.Hit{Human: true}, Traceparent: "of the open"})
	if m.Accepted || !m.AcceptedAt.Equal(at.Add(time.Hour)) || m.Opens != 1 {
		t.Errorf("after the open alone: %+v, want 1 open and a time that is not certain", m)
	}
	facts := mail.Facts{Template: "bill", Body: []byte("facts")}
	m.Apply(mail.Event{Type: mail.Accepted, At: at, Lane: "billing", Facts: facts, Traceparent: "of the mail"})
	m.Apply(mail.Event{Type: mail.Clicked, At: at.Add(2 * time.Hour), Hit: &mail.Hit{}, Facts: mail.Facts{Template: "other", Body: []byte("x")}})
	want := mail.Mail{
		Tenant: "t", ID: "m", Lane: "billing", State: mail.Queued, Facts: facts, Progress: mail.Progress{At: at.UnixNano()},
		AcceptedAt: at, Accepted: true, Opens: 1, MachineHits: 1, Traceparent: "of the mail",
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("mail differs (-want +got):\n%s", diff)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	events := []mail.Event{
		{ID: "5", At: at.Add(time.Second), Position: 1},
		{ID: "4", At: at, Attempt: 2, Position: 2},
		{ID: "2", At: at, Attempt: 1, Type: mail.Attempted, Sequence: 2, Position: 3},
		{ID: "1", At: at, Attempt: 1, Type: mail.Attempted, Sequence: 1, Position: 4},
		{ID: "3", At: at, Attempt: 1, Type: mail.DeferredFor, Position: 5},
		{ID: "0", At: at, Type: mail.Accepted, Position: 6},
	}
	mail.Order(events)
	for i, e := range events {
		if e.ID != strconv.Itoa(i) {
			t.Errorf("Order put %s at %d", e.ID, i)
		}
	}
}
