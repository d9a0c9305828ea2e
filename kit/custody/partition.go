package custody

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"kurir.dev/kit/custody/mark"
)

// partition is one partition in one session: what is handed out of it and
// what is done. It is the [Lease] of its deliveries.
type partition struct {
	session *session
	id      int
	log     *slog.Logger

	urgent chan struct{} // asks for a commit at once
	dirty  chan struct{} // asks for a commit soon

	mu          sync.Mutex
	tracker     *mark.Tracker // nil until recovered
	bytes       int64         // outstanding
	head        int64         // the partition's end, as last seen
	journal     int64         // of the last commit
	committed   bool          // at least once in this session
	closed      bool
	changed     chan struct{} // closed and renewed when something completed or was committed
	fetching    time.Time     // when the reader was asked; zero while it is not
	stalledAt   int64         // Next when a stall was suspected first, -1 for none
	interrupted context.CancelFunc
}

func newPartition(s *session, id int) *partition {
	return &partition{
		session: s, id: id, log: s.log.With(slog.Int("partition", id)),
		urgent: make(chan struct{}, 1), dirty: make(chan struct{}, 1), changed: make(chan struct{}), stalledAt: -1,
	}
}

// Context implements [Lease].
func (p *partition) Context() context.Context { return p.session.life }

// Drain implements [Lease].
func (p *partition) Drain() <-chan struct{} { return p.session.reading.Done() }

// Alive implements [Lease].
func (p *partition) Alive() bool { return p.session.lease.alive(time.Now()) }

// Complete implements [Lease].
func (p *partition) Complete(d *Delivery, journal int64) {
	p.done(d, func() bool { return p.tracker.Complete(d.Offset, journal) }, "completed")
}

// Abandon implements [Lease].
func (p *partition) Abandon(d *Delivery) {
	p.done(d, func() bool { return p.tracker.Abandon(d.Offset) }, "abandoned")
}

func (p *partition) done(d *Delivery, how func() bool, result string) {
	p.mu.Lock()
	if p.closed || !how() {
		p.mu.Unlock()
		return
	}
	size := d.size()
	p.bytes -= size
	p.notify()
	p.mu.Unlock()
	p.session.consumer.window.release(1, size)
	p.session.consumer.meters.done(p.session.life, result)
	signal(p.dirty)
}

// notify wakes who waits for a change; p.mu is held.
func (p *partition) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// wait waits until ready is true; false when ctx ended first. ready is asked
// anew after each change.
func (p *partition) wait(ctx context.Context, ready func() bool) bool {
	for {
		p.mu.Lock()
		ok, changed := ready(), p.changed
		p.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// quiet waits until nothing of the partition is in flight.
func (p *partition) quiet(ctx context.Context) {
	p.wait(ctx, func() bool { return p.tracker == nil || p.tracker.Outstanding() == 0 })
}

// close takes back the room of what never ended; what its handler still says
// about it is not heard any more.
func (p *partition) close() {
	p.mu.Lock()
	p.closed = true
	n, size := 0, p.bytes
	if p.tracker != nil {
		n = p.tracker.Outstanding()
	}
	p.mu.Unlock()
	p.session.consumer.window.release(n, size)
}

// see notes where the partition ends.
func (p *partition) see(head int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.head = max(p.head, head)
}

// nudge opens the reader anew when records were given back, or when it was
// asked long ago and there is something to read.
func (p *partition) nudge(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tracker == nil || p.interrupted == nil {
		return
	}
	if p.tracker.Abandoned() > 0 {
		p.interrupted()
		return
	}
	waits := !p.fetching.IsZero() && time.Since(p.fetching) > p.session.consumer.cfg.StallAfter
	if !waits || p.head <= p.tracker.Next() {
		p.stalledAt = -1
		return
	}
	if p.stalledAt != p.tracker.Next() { // look twice: it may have come this moment
		p.stalledAt = p.tracker.Next()
		return
	}
	p.stalledAt = -1
	p.session.consumer.meters.stalled(ctx)
	p.log.WarnContext(ctx, "reader stands still and is opened anew",
		slog.Int64("next", p.tracker.Next()), slog.Int64("head", p.head))
	p.interrupted()
}

// stats is how the partition stands; false before it is recovered.
func (p *partition) stats() (Stats, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tracker == nil {
		return Stats{}, false
	}
	return Stats{
		Partition: p.id, Watermark: p.tracker.Low(), Next: p.tracker.Next(), Head: max(p.head, p.tracker.Next()),
		Outstanding: p.tracker.Outstanding(), OutstandingBytes: p.bytes, Journal: p.journal,
	}, true
}
