package deliver

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/topic"
	"kurir.dev/services/dispatcher/internal/journal"
	"kurir.dev/services/dispatcher/internal/queue"
	"kurir.dev/services/dispatcher/internal/site"
)

// lessor is a lease as a test wants it.
type lessor struct {
	ctx       context.Context
	dead      atomic.Bool
	abandoned atomic.Int32
}

func (l *lessor) Context() context.Context                     { return l.ctx }
func (l *lessor) Drain() <-chan struct{}                       { return nil }
func (l *lessor) Alive() bool                                  { return !l.dead.Load() }
func (l *lessor) Try(context.Context, *custody.Delivery) error { return nil }
func (l *lessor) Again(*custody.Delivery) bool                 { return false }
func (l *lessor) Complete(*custody.Delivery, int64)            {}
func (l *lessor) Abandon(*custody.Delivery)                    { l.abandoned.Add(1) }

// scribe is a broker that is away, or takes records and counts them.
type scribe struct {
	here  atomic.Bool
	wrote atomic.Int32
}

func (s *scribe) Healthy() bool { return s.here.Load() }

func (s *scribe) Produce(context.Context, broker.Message) (broker.Position, error) {
	return broker.Position{}, errors.New("nothing waits here")
}

func (s *scribe) Enqueue(_ broker.Message, done func(broker.Position, error)) error {
	s.wrote.Add(1)
	done(broker.Position{}, nil)
	return nil
}

// desk is an engine with a journal and nothing else, and a mail in its hands.
func desk(t *testing.T) (*Engine, *journal.Journal, *scribe, *lessor, *job) {
	t.Helper()
	keys, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	s, l := &scribe{}, &lessor{ctx: t.Context()}
	j := journal.New(record.NewCodec(keys, topic.Names{}), s, slog.New(slog.DiscardHandler), 10)
	e := &Engine{Deps: Deps{Journal: j, Now: time.Now}}
	home := &Lane{engine: e, ledger: newLedger[*job]()}
	mail := &journal.Mail{Key: journal.Key{MailID: "m", Attempt: 1}, Lane: "bulk", ExpiresAt: time.Now().Add(time.Hour)}
	one := &job{
		mail: mail, home: home, lease: custody.NewDelivery(custody.Record{}, l), ctx: t.Context(), span: noop.Span{}, calm: func() {}, noted: -1,
	}
	return e, j, s, l, one
}

// A mail that waited for the broker to come back, longer than its lease held, is
// not begun.
func TestOutageOutlastsTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, j, s, l, one := desk(t)
		part := j.Part()
		if err := part.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		carried := make(chan struct{})
		go func() {
			defer close(carried)
			(&carrier{Engine: e}).carry(one)
		}()
		synctest.Wait() // for the broker
		l.dead.Store(true)
		s.here.Store(true)
		<-carried
		if got := l.abandoned.Load(); got != 1 {
			t.Errorf("given back %d times, want once", got)
		}
		if err := part.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A mail that waits for a connection is not in work: others do not stand back
// for it until a worker has it.
func TestInWorkIsWhatAWorkerHas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, j, s, l, one := desk(t)
		part := j.Part()
		if err := part.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.Gate = gate.New(gate.Config{Places: 1}, lane.Default())
		e.sites = site.New(site.Default(), []queue.Lane{{Name: lane.OTP, Urgent: true}}, map[string]int{}, func(*site.Worker[*job]) {}, time.Now)
		e.queued = newRoll()
		bulk := func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			leave, err := e.Gate.Enter(ctx, lane.Bulk)
			if err == nil {
				<-time.After(time.Millisecond)
				leave()
			}
			return err == nil
		}
		for range 200 { // until it has had its floor
			bulk()
		}
		one.lane, one.site = lane.Default()[0], "example.org"
		one.calm = e.Gate.Begin(lane.OTP, "t")
		if bulk() {
			t.Error("bulk does not stand back for a code on its way")
		}
		e.enqueue(one)
		if !bulk() {
			t.Error("bulk stands back for a code that waits for a connection")
		}
		carried := make(chan struct{})
		go func() {
			defer close(carried)
			(&carrier{Engine: e}).carry(one) // waits for the broker
		}()
		synctest.Wait()
		if bulk() {
			t.Error("bulk does not stand back for a code that a worker has")
		}
		l.dead.Store(true)
		s.here.Store(true)
		<-carried
		if !bulk() {
			t.Error("bulk stands back for a code that was given back")
		}
		if err := part.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Without a lease nothing is said of a mail, for its owner may be sending it, but
// kept in mind in case this process owns it again.
func TestNothingIsSaidWithoutALease(t *testing.T) {
	t.Parallel()
	for _, kind := range []journal.Kind{journal.Expired, journal.Bounced, journal.Deferred, journal.Held} {
		e, _, s, l, one := desk(t)
		l.dead.Store(true)
		e.settle(one, journal.Outcome{Kind: kind})
		if got, back := s.wrote.Load(), l.abandoned.Load(); got != 0 || back != 1 {
			t.Errorf("%v without a lease: %d records written and %d given back, want 0 and 1", kind, got, back)
		}
		if d, ok := one.home.ledger.debt(one.mail.Key); !ok || d.outcome.Kind != kind {
			t.Errorf("%v without a lease: owed %v, %v", kind, d.outcome.Kind, ok)
		}
	}
}

// What was read of the journal before, or written since, is not news.
func TestLedgerReadsOn(t *testing.T) {
	t.Parallel()
	l := newLedger[*int]()
	key := journal.Key{MailID: "m", Attempt: 1}
	l.recall(0, key, journal.Settled{Kind: journal.Deferred, Offset: 9})
	l.recall(0, key, journal.Settled{Kind: journal.Committing, Offset: 8})
	if known, fresh := l.begin(0, key, new(int), func(*int) bool { return false }); fresh || known.Offset != 9 {
		t.Errorf("begin() = %v, %v after an older record, want settled at 9", known, fresh)
	}
	if !l.ask(0, key) || l.ask(0, key) {
		t.Error("ask() is not true once and then false")
	}
	l.forget(0)
	if l.recall(0, key, journal.Settled{Kind: journal.Committing, Offset: 8}); !l.ask(0, key) {
		t.Error("ask() = false in a new lease, want true")
	}
}
