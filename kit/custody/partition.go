package custody

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"kurir.dev/kit/custody/mark"
	"kurir.dev/kit/topic"
)

// partition is one partition in one session: what is handed out of it and
// what is done. It is the [Lease] of its deliveries.
type partition struct {
	session *session
	id      int
	band    topic.Band
	log     *slog.Logger

	complaints complaints

	urgent chan struct{} // asks for a commit at once
	dirty  chan struct{} // asks for a commit soon

	mu          sync.Mutex
	tracker     *mark.Tracker // nil until recovered
	bytes       int64         // outstanding
	head        int64         // the partition's end, as last seen
	journal     int64         // of the last commit
	promised    int64         // what the last commit says may be tried, answered or not
	committed   bool          // at least once in this session
	closed      bool
	changed     chan struct{} // closed and renewed when something completed or was committed
	waited      bool          // somebody waits for changed
	interrupted context.CancelFunc

	fullTold time.Time // when it was last logged that the metadata is full; the pump's
}

func newPartition(s *session, id int, band topic.Band) *partition {
	return &partition{
		session: s, id: id, band: band, log: s.log.With(slog.Int("partition", id)),
		urgent: make(chan struct{}, 1), dirty: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// Context implements [Lease].
func (p *partition) Context() context.Context { return p.session.life }

// Drain implements [Lease].
func (p *partition) Drain() <-chan struct{} { return p.session.reading.Done() }

// Alive implements [Lease].
func (p *partition) Alive() bool { return p.session.lease.alive(time.Now()) }

// Try implements [Lease].
func (p *partition) Try(ctx context.Context, d *Delivery) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.Context(), cancel)()
	asked := false
	p.wait(ctx, func() bool {
		ok := p.tracker.Try(d.Offset)
		// More is reserved before it is needed, and when it is.
		if short := p.promised - p.tracker.Tried(); !asked && short < mark.Spare/2 && p.promised < p.tracker.Next() {
			asked = true
			signal(p.urgent)
		}
		return ok
	})
	if p.Context().Err() != nil {
		return p.Context().Err()
	}
	return ctx.Err()
}

// Again implements [Lease].
func (p *partition) Again(d *Delivery) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tracker.Again(d.Offset)
}

// Complete implements [Lease].
func (p *partition) Complete(d *Delivery, journal int64) {
	p.done(d, func() bool { return p.tracker.Complete(d.Offset, journal) }, completed)
}

// Abandon implements [Lease].
func (p *partition) Abandon(d *Delivery) {
	p.done(d, func() bool { return p.tracker.Abandon(d.Offset) }, abandoned)
}

func (p *partition) done(d *Delivery, how func() bool, r result) {
	p.mu.Lock()
	if p.closed || !how() {
		p.mu.Unlock()
		return
	}
	size := d.size()
	p.bytes -= size
	p.notify()
	p.mu.Unlock()
	p.session.consumer.window.release(p.band, 1, size)
	p.session.consumer.meters.record(p.session.life, r)
	signal(p.dirty)
}

// notify wakes who waits for a change; p.mu is held.
func (p *partition) notify() {
	if p.waited {
		close(p.changed)
		p.changed, p.waited = make(chan struct{}), false
	}
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
		p.waited = p.waited || !ok
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
	p.session.consumer.window.release(p.band, n, size)
}

// see notes where the partition ends.
func (p *partition) see(head int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.head = max(p.head, head)
}

// nudge has the reader begin anew when records were given back.
func (p *partition) nudge() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tracker != nil && p.interrupted != nil && p.tracker.Abandoned() > 0 {
		p.interrupted()
	}
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
		Outstanding: p.tracker.Outstanding(), OutstandingBytes: p.bytes, Journal: p.journal, Metadata: p.tracker.Size(),
	}, true
}
