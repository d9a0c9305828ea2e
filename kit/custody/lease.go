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
type lease struct {
	session time.Duration

	mu    sync.Mutex
	sent  time.Time // of the last heartbeat that was answered; zero before the first
	lost  bool
	begun chan struct{} // closed by the first heartbeat
	gone  chan struct{} // closed when lost
}

func newLease(session time.Duration) *lease {
	// A tenth of the session is kept back for clocks that run apart.
	return &lease{session: session - session/10, begun: make(chan struct{}), gone: make(chan struct{})}
}

// beat notes an answered heartbeat that was sent at the given time.
func (l *lease) beat(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent.IsZero() {
		close(l.begun)
	}
	if sent.After(l.sent) { // answers may overtake one another
		l.sent = sent
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
	wall := now.Round(0).Sub(l.sent.Round(0))
	return now.Sub(l.sent) < l.session && wall < l.session
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
		s.lease.beat(sent)
	case errors.Is(err, kafka.RebalanceInProgress): // ours until we join again
		s.over.Store(true)
		s.lease.beat(sent)
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
