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
	// window is how far back use beyond the floor is held against a lane.
	window = 100 * time.Millisecond
	// burst of processor time is what a lane that used nothing may have at
	// once in a rush.
	burst = time.Millisecond
)

// class is one lane at the gate; the gate's lock guards it.
type class struct {
	name    string
	weight  float64
	floor   float64 // processors that are its own
	waiting line
	entered int64
	virtual float64 // processor time it had, by its weight

	credit  time.Duration // below its floor, or beyond it when negative
	filled  time.Time
	step    time.Duration // how long its steps take, smoothed
	charged time.Duration // for steps under way
}

func newClass(l lane.Lane, places int) *class {
	return &class{
		name: l.Name, weight: float64(l.Weight),
		floor: float64(cmp.Or(l.FloorPercent, leastFloor)) / 100 * float64(places),
	}
}

// owed says whether the lane got less than its floor.
func (c *class) owed(now time.Time) bool {
	c.fill(now)
	return c.credit >= 0
}

// dues is when it will have got less than its floor if it gets nothing.
func (c *class) dues(now time.Time) time.Time {
	c.fill(now)
	return now.Add(max(0, time.Duration(float64(-c.credit)/c.floor)+time.Microsecond))
}

func (c *class) fill(now time.Time) {
	gained := float64(now.Sub(c.filled)) * c.floor
	c.filled = now
	if gained > float64(burst-c.credit) {
		c.credit = burst
		return
	}
	c.credit += time.Duration(gained)
}

// begins charges a step for what it will probably take.
func (c *class) begins(now time.Time) {
	c.fill(now)
	c.entered++
	c.charge(c.step)
	c.charged += c.step
}

// ends charges it for what it took instead; charged is what it was charged for.
func (c *class) ends(now time.Time, charged, took time.Duration) {
	c.fill(now)
	c.charge(took - charged)
	c.charged -= charged
	c.credit = max(c.credit, -time.Duration(c.floor*float64(window))-c.charged)
	c.step += (took - c.step) / 8
}

func (c *class) charge(d time.Duration) {
	c.credit -= d
	c.virtual += float64(d) / c.weight
}
