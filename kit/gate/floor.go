package gate

import "time"

const (
	// window is how far back use beyond a floor is held against a lane.
	window = 100 * time.Millisecond
	// burst of processor time is what a lane that used nothing may have at
	// once in a rush.
	burst = time.Millisecond
)

// floor keeps processors for those who would else stand back: a token bucket
// of processor time.
type floor struct {
	processors float64
	credit     time.Duration // below the floor, or beyond it when negative
	filled     time.Time
	charged    time.Duration // for steps under way
}

func newFloor(percent, places int) floor {
	return floor{processors: float64(percent) / 100 * float64(places)}
}

// owed says whether they got less than that.
func (f *floor) owed(now time.Time) bool {
	f.fill(now)
	return f.credit >= 0
}

// dues is when they will have got less if they get nothing.
func (f *floor) dues(now time.Time) time.Time {
	f.fill(now)
	return now.Add(max(0, time.Duration(float64(-f.credit)/f.processors)+time.Microsecond))
}

func (f *floor) fill(now time.Time) {
	gained := float64(now.Sub(f.filled)) * f.processors
	f.filled = now
	if gained > float64(burst-f.credit) {
		f.credit = burst
		return
	}
	f.credit += time.Duration(gained)
}

// begins draws what a step will probably take.
func (f *floor) begins(now time.Time, charged time.Duration) {
	f.fill(now)
	f.credit -= charged
	f.charged += charged
}

// ends draws what it took instead of what it was charged for.
func (f *floor) ends(now time.Time, charged, took time.Duration) {
	f.fill(now)
	f.credit -= took - charged
	f.charged -= charged
	f.credit = max(f.credit, -time.Duration(f.processors*float64(window))-f.charged)
}
