package custody

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// lease knows until when a generation is ours for certain: a session's time
// from when the last answered heartbeat was sent. The coordinator counts from
// when it came in, which is later.
//
// While the group rebalances its answers prove less: the round waits for us no
// longer than its time, however alive we are. It began after the last heartbeat
// was sent whose answer did not speak of it.
type lease struct {
	session, rebalance time.Duration

	mu     sync.Mutex
	sent   time.Time // of the last heartbeat that was answered; zero before the first
	steady time.Time // of the last that was answered outside a rebalance
	lost   bool
	begun  chan struct{} // closed by the first heartbeat
	gone   chan struct{} // closed when lost
}

func newLease(session, rebalance time.Duration) *lease {
	// A tenth is kept back for clocks that run apart.
	return &lease{
		session: session - session/10, rebalance: rebalance - rebalance/10,
		begun: make(chan struct{}), gone: make(chan struct{}),
	}
}

// beat notes a heartbeat that was sent at the given time, and what was answered:
// all is well, or that the group rebalances. The latter begins no lease.
func (l *lease) beat(sent time.Time, rebalancing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rebalancing && l.steady.IsZero() {
		return
	}
	if l.sent.IsZero() {
		close(l.begun)
	}
	if sent.After(l.sent) { // answers may overtake one another
		l.sent = sent
	}
	if !rebalancing && sent.After(l.steady) {
		l.steady = sent
	}
}

// lose ends the lease for good; false when it was lost before.
func (l *lease) lose() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		return false
	}
	l.lost = true
	close(l.gone)
	return true
}

// alive says whether the lease holds at the given time. A machine that slept
// shows in its wall clock, a clock that was set in the monotonic one: both
// must agree.
func (l *lease) alive(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost || l.sent.IsZero() {
		return false
	}
	return within(l.sent, now, l.session) && within(l.steady, now, l.rebalance)
}

// within says whether less than d has gone by, on either clock.
func within(from, now time.Time, d time.Duration) bool {
	return now.Sub(from) < d && now.Round(0).Sub(from.Round(0)) < d
}

// expired says that a lease which had begun does not hold any more.
func (l *lease) expired(now time.Time) bool {
	l.mu.Lock()
	begun := !l.sent.IsZero()
	l.mu.Unlock()
	return begun && !l.alive(now)
}

// beats sends heartbeats until the session ends, each in its time: one that
// nobody answers does not hold back the next, which may find another
// coordinator.
func (s *session) beats(ctx context.Context) {
	var beating sync.WaitGroup
	defer beating.Wait()
	tick := time.NewTicker(s.consumer.cfg.Heartbeat)
	defer tick.Stop()
	for {
		beating.Go(func() { s.beat(ctx) })
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.consumer.cfg.Session/3)
	defer cancel()
	sent := time.Now()
	err := s.consumer.heartbeat(ctx, s.gen)
	switch {
	case err == nil:
		s.lease.beat(sent, false)
	case errors.Is(err, kafka.RebalanceInProgress): // ours until we join again, or the round ends without us
		s.over.Store(true)
		s.lease.beat(sent, true)
		s.beginDrain("rebalance")
	case fenced(err):
		s.lose(ctx, err)
	case s.lease.expired(time.Now()):
		s.lose(ctx, err)
	}
}

// fenced tells the errors by which the group says that we are no member of
// this generation any more.
func fenced(err error) bool {
	return errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) ||
		errors.Is(err, kafka.FencedInstanceID)
}

// lose ends the lease: another may own the partitions, and does if we are
// fenced.
func (s *session) lose(ctx context.Context, cause error) {
	if fenced(cause) {
		s.over.Store(true)
	}
	if !s.lease.lose() {
		return
	}
	s.consumer.meters.lost(ctx)
	s.log.WarnContext(ctx, "lease lost", slog.Any("error", cause))
	s.end()
	s.beginDrain("lease lost")
}
