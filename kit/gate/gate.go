package gate

import (
	"cmp"
	"container/list"
	"context"
	"sync"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/lane"
)

const (
	defaultLinger = 4 * time.Millisecond
	// vigil is how long after something urgent a place is kept for the next.
	vigil = time.Second
	// defaultBigFloor in percent is what the big tenants of a lane keep.
	defaultBigFloor = 5
)

// Gate is a bounded, prioritised passage. Safe for concurrent use. A nil Gate
// lets everybody pass.
type Gate struct {
	places int
	linger time.Duration
	meters meters

	mu      sync.Mutex
	classes []*class    // by rank
	running int         // steps of all lanes
	lower   int         // steps of all but the first
	virtual float64     // of the class that entered last
	seen    time.Time   // when there last was a mail or a step of the first
	timer   *time.Timer // for those who stand back
	due     time.Time   // when timer fires; zero when it does not
}

// New makes a gate for the lanes of an installation, all of them, by rank; the
// first is the urgent one. cfg must be valid. Call [Gate.Measure] before use for metrics.
func New(cfg Config, lanes lane.Set) *Gate {
	g := &Gate{places: cmp.Or(cfg.Places, app.Processors()), linger: cmp.Or(cfg.Linger, defaultLinger)}
	if len(lanes) == 0 {
		lanes = lane.Set{{Weight: 1}}
	}
	bigs := cmp.Or(cfg.BigFloorPercent, defaultBigFloor)
	for _, l := range lanes {
		g.classes = append(g.classes, newClass(l, g.places, bigs))
	}
	g.classes = append(g.classes, newClass(lane.Lane{Name: background, Weight: backgroundWeight, FloorPercent: backgroundFloor}, g.places, max(bigs, backgroundFloor)))
	return g
}

// Begin says that a tenant's mail of lane is in work from now until end is
// called; once is enough. For mail of the first-ranked lane the other lanes
// stand back, for that of a small tenant the big ones of its lane and of those
// below: for some tens of milliseconds at most. What waits for a connection is
// not in work.
func (g *Gate) Begin(lane, tenant string) (end func()) {
	if g == nil {
		return func() {}
	}
	c := g.class(lane)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if c == g.classes[0] {
		g.seen = now
	} else if c.usage.big(tenant, now) {
		return func() {}
	}
	mine := c.work.begin(now)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if mine == nil {
			return
		}
		now := time.Now()
		c.work.end(mine, now)
		mine = nil
		g.admit(now)
	}
}

// Enter waits for a place for a stretch of pure computation of lane, the lowest
// if it is unknown, or [Background]. Call leave at its end; once is enough. Hold no place while
// waiting for the network, a disk, another service or another place: one gate
// may serve all services of a process, and they would wait for one another.
// tenants are whom it serves: it goes as a step of the smallest, or of "" when it
// serves none. The error is ctx's.
func (g *Gate) Enter(ctx context.Context, lane string, tenants ...string) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := g.class(lane)
	w, asked := &waiter{gate: g, class: c}, time.Now()
	g.mu.Lock()
	w.tenant = c.usage.smallest(tenants, asked)
	w.line = c.line(w.tenant, asked)
	if c.len() == 0 && g.may(c, w.line == &c.big, asked) {
		g.enter(w, asked)
		g.mu.Unlock()
		g.meters.waited(ctx, c, 0)
		return w.leave, nil
	}
	w.turn = make(chan struct{})
	g.wait(w, asked)
	g.mu.Unlock()
	select {
	case <-w.turn:
		w.runs = time.Now()
		g.meters.waited(ctx, c, w.runs.Sub(asked))
		return w.leave, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	entered := w.entered
	if !entered {
		w.line.remove(w)
		g.admit(time.Now())
	}
	g.mu.Unlock()
	if entered { // the turn came in the same moment
		w.leave()
	}
	return nil, ctx.Err()
}

// waiter is a step that waits for its place, and then the step that has it.
type waiter struct {
	gate    *Gate
	class   *class
	tenant  string
	line    *line         // of its class
	party   *party        // whom it waits among, and where
	place   *list.Element // among them
	turn    chan struct{} // closed when it is its turn; nil when it never waited
	began   time.Time     // to have its place
	runs    time.Time     // since when it uses it: the scheduler may come later
	charged time.Duration // for it
	entered bool
	left    bool
}

func (w *waiter) leave() {
	g, now := w.gate, time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.left {
		return
	}
	w.left = true
	g.running--
	if w.class != g.classes[0] {
		g.lower--
	}
	// One that the scheduler kept waiting had a place that others did not have.
	// So much of the wait counts that a lane's floor is kept in mails by measure:
	// with all of it a lane gets half of that, with none three times as much.
	w.class.ends(w, now, now.Sub(w.runs)+w.runs.Sub(w.began)*2/5)
	g.admit(now)
}

// wait queues w; g.mu is held.
func (g *Gate) wait(w *waiter, now time.Time) {
	c := w.class
	if c.len() == 0 {
		c.virtual = max(c.virtual, g.virtual) // nothing is saved up while away
	}
	w.line.push(w)
	g.admit(now)
}

// enter gives w a place; g.mu is held.
func (g *Gate) enter(w *waiter, now time.Time) {
	g.running++
	if w.class != g.classes[0] {
		g.lower++
	} else {
		g.seen = now
	}
	g.virtual = max(g.virtual, w.class.virtual)
	w.class.begins(w, now)
	w.entered, w.began, w.runs = true, now, now
}

func (g *Gate) class(name string) *class {
	behind := len(g.classes) - 1
	if name == Background {
		return g.classes[behind]
	}
	for _, c := range g.classes[:behind] {
		if c.name == name {
			return c
		}
	}
	return g.classes[behind-1]
}
