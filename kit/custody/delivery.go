package custody

import "context"

// Delivery is one record handed out. It ends with exactly one Complete or
// Abandon; more do nothing. Safe for concurrent use.
type Delivery struct {
	Record
	lease Lease
}

// Lease is what a delivery knows of the partition that it came from. The
// consumer implements it; tests of handlers may, too.
type Lease interface {
	// Context ends when the lease is lost or the drain bound reached.
	Context() context.Context
	// Drain is closed when draining begins.
	Drain() <-chan struct{}
	// Alive says whether the lease still holds for certain.
	Alive() bool
	// Try returns when d may be tried; the error is ctx's, or that of Context.
	Try(ctx context.Context, d *Delivery) error
	// Again says whether an owner before may have tried d.
	Again(d *Delivery) bool
	// Complete says that d is done, and where its outcome lies; -1 for nowhere.
	Complete(d *Delivery, journal int64)
	// Abandon gives d back.
	Abandon(d *Delivery)
}

// NewDelivery makes a delivery of a record under a lease.
func NewDelivery(r Record, l Lease) *Delivery { return &Delivery{Record: r, lease: l} }

// Context ends when the lease is lost or the drain bound is reached: what is
// still under way then must stop, for another may own the record.
func (d *Delivery) Context() context.Context { return d.lease.Context() }

// Draining says that the partition is on its way out: start nothing new,
// abandon what has not begun.
func (d *Delivery) Draining() bool {
	select {
	case <-d.lease.Drain():
		return true
	default:
		return false
	}
}

// Drain is closed when draining begins: for handlers that queue deliveries
// and want to abandon them then.
func (d *Delivery) Drain() <-chan struct{} { return d.lease.Drain() }

// Alive says whether the lease still holds for certain: the last heartbeat
// that the group answered was sent less than a session ago. Ask just before
// the step that cannot be taken back.
func (d *Delivery) Alive() bool { return d.lease.Alive() }

// Try says that the record is about to be tried in a way that cannot be taken
// back: whoever owns it after a crash hears of it by [Delivery.Again]. It
// returns at once but for the rare moment when tries come faster than commits.
// The error is ctx's, or that the lease is over: then do not try.
func (d *Delivery) Try(ctx context.Context) error { return d.lease.Try(ctx, d) }

// Again says that an owner before may have tried the record and did not come to
// tell how that ended: it died, or lost its lease. Some of these were not tried,
// a few hundred at most.
func (d *Delivery) Again() bool { return d.lease.Again(d) }

// Complete says that the record is done for good and shall not come again.
// journal is the offset of its outcome record in the journal, -1 for none.
// Completions may come in any order.
func (d *Delivery) Complete(journal int64) { d.lease.Complete(d, journal) }

// Abandon gives the record back undone. The next owner gets it again; so does
// this one, a moment later, unless it is draining.
func (d *Delivery) Abandon() { d.lease.Abandon(d) }
