package journal

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/topic"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

// flaky is a producer that takes nothing while it is away.
type flaky struct {
	mu      sync.Mutex
	away    bool
	refused int      // records while away
	topics  []string // of what it took
}

func (f *flaky) Enqueue(m broker.Message, done func(broker.Position, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		f.refused++
		return errors.New("away")
	}
	f.topics = append(f.topics, m.Topic)
	at := broker.Position{Offset: int64(len(f.topics))}
	if done != nil {
		go done(at, nil)
	}
	return nil
}

func (f *flaky) Produce(context.Context, broker.Message) (broker.Position, error) {
	return broker.Position{}, errors.New("not asked here")
}

func (f *flaky) Healthy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.away
}

func (f *flaky) set(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// warnings counts log lines.
type warnings struct{ strings.Builder }

func (w *warnings) count() int { return strings.Count(w.String(), "outcomes wait for the broker") }

// desk is a journal that runs on a producer that is away, and its stop.
func desk(t *testing.T) (*Journal, *flaky, *warnings, func(ctx context.Context) error) {
	t.Helper()
	keys, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	f, w := &flaky{away: true}, &warnings{}
	j := New(record.NewCodec(keys, topic.Names{}), f, slog.New(slog.NewTextHandler(w, nil)), 10)
	part := j.Part()
	if err := part.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return j, f, w, part.Stop
}

// settle settles a mail under a lease and tells how that ended.
func settle(lease context.Context, t *testing.T, j *Journal, kind Kind) <-chan bool {
	t.Helper()
	ended := make(chan bool, 1)
	mail := &Mail{Key: Key{"m1", 1}, Lane: "bulk", envelope: &eventsv1.MailEnvelope{MailId: "m1", Lane: "bulk"}}
	if err := j.Settle(lease, mail, Outcome{Kind: kind, Sequence: 1, At: time.Now()}, 0,
		func() bool { return lease.Err() == nil }, func(_ int64, ok bool) { ended <- ok }); err != nil {
		t.Fatal(err)
	}
	return ended
}

func TestSettlementOutlivesItsLease(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]bool{Delivered: true, Bounced: true, Expired: true, Held: true, Deferred: false} {
		synctest.Test(t, func(t *testing.T) {
			j, f, w, stop := desk(t)
			lease, lose := context.WithCancel(t.Context())
			ended := settle(lease, t, j, kind)
			lose()
			wait(time.Hour)
			f.set(false)
			if got := <-ended; got != want {
				t.Errorf("%s was written = %t after its lease, want %t", kind, got, want)
			}
			if err := stop(t.Context()); err != nil {
				t.Errorf("Stop() = %v", err)
			}
			if n := w.count(); n != 1 {
				t.Errorf("%s: %d warnings of one outage, want one", kind, n)
			}
		})
	}
}

// A deferral follows its outcome only under a lease that holds once the outcome
// stands: otherwise the next owner may be sending the mail.
func TestNoDeferralWithoutALease(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind  Kind
		alive bool
		want  int // records
	}{{Deferred, true, 2}, {Deferred, false, 1}, {Held, false, 2}, {Delivered, false, 1}} {
		synctest.Test(t, func(t *testing.T) {
			j, f, _, stop := desk(t)
			f.set(false)
			ended := make(chan bool, 1)
			mail := &Mail{Key: Key{"m1", 1}, Lane: "bulk", envelope: &eventsv1.MailEnvelope{MailId: "m1", Lane: "bulk"}}
			if err := j.Settle(t.Context(), mail, Outcome{Kind: tt.kind, Sequence: 1, At: time.Now()}, 0,
				func() bool { return tt.alive }, func(_ int64, ok bool) { ended <- ok }); err != nil {
				t.Fatal(err)
			}
			if got, want := <-ended, tt.alive || tt.kind != Deferred; got != want {
				t.Errorf("%s with a lease %v is settled: %v, want %v", tt.kind, tt.alive, got, want)
			}
			if len(f.topics) != tt.want {
				t.Errorf("%s with a lease %v wrote %v, want %d records", tt.kind, tt.alive, f.topics, tt.want)
			}
			if err := stop(t.Context()); err != nil {
				t.Errorf("Stop() = %v", err)
			}
		})
	}
}

func TestOutweighs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		known, later Settled
		want         bool
	}{
		{Settled{Kind: Delivered}, Settled{Kind: Deferred}, true},
		{Settled{Kind: Delivered}, Settled{Kind: Bounced}, false},
		{Settled{Kind: Deferred}, Settled{Kind: Attempted}, true},
		{Settled{Kind: Deferred}, Settled{Kind: Delivered}, false},
		{Settled{Kind: Deferred}, Settled{Kind: Committing}, false},
		{Settled{Kind: Held}, Settled{Kind: Committing}, true},
		{Settled{Kind: Committing}, Settled{Kind: Deferred}, true},
		{Settled{Kind: Committing}, Settled{Kind: Deferred, Refused: true}, false},
		{Settled{Kind: Committing}, Settled{Kind: Attempted}, true},
		{Settled{Kind: Committing}, Settled{Kind: Held}, false},
		{Settled{Kind: Attempted}, Settled{Kind: Committing}, false},
		{Settled{}, Settled{Kind: Attempted}, false},
	} {
		if got := tt.known.Outweighs(tt.later); got != tt.want {
			t.Errorf("%v.Outweighs(%v, refused %v) = %v, want %v", tt.known.Kind, tt.later.Kind, tt.later.Refused, got, tt.want)
		}
	}
}

func TestOutageIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, f, w, stop := desk(t)
		for outage := range 3 {
			f.set(true)
			var all []<-chan bool
			for range 5 {
				all = append(all, settle(t.Context(), t, j, Delivered))
				wait(time.Minute)
			}
			f.set(false)
			for _, one := range all {
				<-one
			}
			synctest.Wait()
			if n := w.count(); n != outage+1 {
				t.Errorf("%d warnings of %d outages", n, outage+1)
			}
			if want := 5 * (outage + 1); f.refused != want {
				t.Errorf("%d records were refused, want each of the %d once: none is tried while the broker is away", f.refused, want)
			}
		}
		if err := stop(t.Context()); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	})
}

func TestAdmitWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, f, _, stop := desk(t)
		lease, lose := context.WithCancel(t.Context())
		lose()
		if err := j.Admit(lease, "bulk"); !errors.Is(err, context.Canceled) {
			t.Errorf("Admit without a broker or a lease = %v", err)
		}
		admitted := make(chan error, 1)
		go func() { admitted <- j.Admit(t.Context(), "bulk") }()
		wait(time.Hour)
		select {
		case err := <-admitted:
			t.Errorf("Admit without a broker = %v, want it to wait", err)
		default:
		}
		f.set(false)
		if err := <-admitted; err != nil {
			t.Errorf("Admit when the broker is back = %v", err)
		}
		if err := stop(t.Context()); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	})
}

func TestStopWritesWhatItCan(t *testing.T) {
	t.Parallel()
	for back, want := range map[time.Duration]bool{time.Second: true, time.Minute: false} {
		synctest.Test(t, func(t *testing.T) {
			j, f, _, stop := desk(t)
			ended := settle(t.Context(), t, j, Delivered)
			time.AfterFunc(back, func() { f.set(false) })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := stop(ctx); (err == nil) != want {
				t.Errorf("Stop() with the broker back in %v = %v", back, err)
			}
			if got := <-ended; got != want {
				t.Errorf("written = %t with the broker back in %v, want %t", got, back, want)
			}
			if n := j.Pending(); n != 0 {
				t.Errorf("%d settlements are under way after the stop", n)
			}
		})
	}
}

// wait lets the bubble's time pass.
func wait(d time.Duration) { <-time.After(d) }
