package gate

import (
	"cmp"
	"time"

	"kurir.dev/kit/lane"
)

// Background is the name by which steps enter that serve no lane alone: what
// became of the mail of all lanes is stored and told. They have a share of
// their own, so that their keeping up with one lane is not taken from another.
const Background = ""

const (
	// background is what metrics call it.
	background = "background"
	// backgroundWeight and backgroundFloor in percent are its share.
	backgroundWeight, backgroundFloor = 4, 10

	// leastFloor in percent is the floor of a lane that has none.
	leastFloor = 2
)

// class is one lane at the gate; the gate's lock guards it.
type class struct {
	name       string
	weight     float64
	small, big line  // steps that wait, of tenants that used little lately and of others
	work       work  // mail that others stand back for
	usage      usage // by tenant
	floor      floor
	bigs       floor // of the big tenants among them
	entered    int64
	virtual    float64       // processor time it had, by its weight
	step       time.Duration // how long its steps take, smoothed
}

func newClass(l lane.Lane, places, bigs int) *class {
	return &class{
		name: l.Name, weight: float64(l.Weight),
		floor: newFloor(cmp.Or(l.FloorPercent, leastFloor), places),
		bigs:  newFloor(bigs, places),
	}
}

// len is how many steps wait.
func (c *class) len() int { return c.small.len() + c.big.len() }

// line is where a tenant's steps wait.
func (c *class) line(tenant string, now time.Time) *line {
	if c.usage.big(tenant, now) {
		return &c.big
	}
	return &c.small
}

// begins charges a step for what it will probably take.
func (c *class) begins(w *waiter, now time.Time) {
	c.entered++
	w.charged = c.step
	c.floor.begins(now, w.charged)
	if w.line == &c.big {
		c.bigs.begins(now, w.charged)
	}
	c.virtual += float64(w.charged) / c.weight
}

// ends charges it for what it took instead.
func (c *class) ends(w *waiter, now time.Time, took time.Duration) {
	c.floor.ends(now, w.charged, took)
	if w.line == &c.big {
		c.bigs.ends(now, w.charged, took)
	}
	c.virtual += float64(took-w.charged) / c.weight
	c.usage.add(w.tenant, took, now)
	c.step += (took - c.step) / 8
}
