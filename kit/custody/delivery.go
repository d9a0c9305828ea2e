package custody

import "context"

// Delivery is one record handed out. It ends with exactly one Complete or
// Abandon; more do nothing. Safe for concurrent use.
type Delivery struct {
	Record
	lease lease
}

// lease is what a delivery knows of the partition it belongs to.
type lease interface {
	context() context.Context
	draining() bool
	alive() bool
	complete(offset, journal int64)
	abandon(offset int64)
}

// Context ends when the lease is lost or the drain bound is reached: what is
// still under way then must stop, for another may own the record.
func (d *Delivery) Context() context.Context { return d.lease.context() }

// Draining says that the partition is on its way out: start nothing new,
// abandon what has not begun.
func (d *Delivery) Draining() bool { return d.lease.draining() }

// Alive says whether the lease still holds for certain: the last heartbeat
// the group answered was sent less than a session ago. Ask just before the
// step that cannot be taken back.
func (d *Delivery) Alive() bool { return d.lease.alive() }

// Complete says that the record is done for good and shall not come again.
// journal is the offset of its outcome record in the journal, -1 for none.
// Completions may come in any order.
func (d *Delivery) Complete(journal int64) { d.lease.complete(d.Offset, journal) }

// Abandon gives the record back undone: the next owner, or this one in its
// next generation, gets it again.
func (d *Delivery) Abandon() { d.lease.abandon(d.Offset) }
