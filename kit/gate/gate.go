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
	// fresh is how long an urgent mail counts at most: one that is slow,
	// because its peer is, holds nobody up.
	fresh = 50 * time.Millisecond
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
	urgent  list.List   // of time.Time: when the urgent mails in work began
	ended   time.Time   // when the last of them ended
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
	for _, l := range lanes {
		g.classes = append(g.classes, newClass(l, g.places))
	}
	g.classes = append(g.classes, newClass(lane.Lane{Name: background, Weight: backgroundWeight, FloorPercent: backgroundFloor}, g.places))
	return g
}

// Urgent says that a mail of lane is in work from now until end is called; once
// is enough. It counts for some tens of milliseconds at most, and only if lane
// is the first-ranked one.
func (g *Gate) Urgent(lane string) (end func()) {
	if g == nil || lane != g.classes[0].name {
		return func() {}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = time.Now()
	mine := g.urgent.PushBack(g.seen)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if mine == nil {
			return
		}
		now := time.Now()
		if now.Sub(mine.Value.(time.Time)) < fresh {
			g.ended = now
		}
		g.urgent.Remove(mine)
		mine = nil
		g.admit(now)
	}
}

// Enter waits for a place for a stretch of pure computation of lane, the lowest
// if it is unknown, or [Background]. Call leave at its end; once is enough. Hold no place while
// waiting for the network, a disk, another service or another place: one gate
// may serve all services of a process, and they would wait for one another.
// Tenants of a lane that wait go by turns; "" is one of them. The error is ctx's.
func (g *Gate) Enter(ctx context.Context, lane, tenant string) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := g.class(lane)
	w, asked := &waiter{gate: g, class: c, tenant: tenant}, time.Now()
	g.mu.Lock()
	if c.waiting.len() == 0 && g.may(c, asked) {
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
		c.waiting.remove(w)
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
	w.class.ends(now, w.charged, now.Sub(w.runs)+w.runs.Sub(w.began)*2/5)
	g.admit(now)
}

// wait queues w; g.mu is held.
func (g *Gate) wait(w *waiter, now time.Time) {
	c := w.class
	if c.waiting.len() == 0 {
		c.virtual = max(c.virtual, g.virtual) // nothing is saved up while away
	}
	c.waiting.push(w)
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
	w.charged = w.class.step
	w.class.begins(now)
	w.entered, w.began, w.runs = true, now, now
}

// may says whether c may have a place now, others that wait left aside; g.mu is
// held.
func (g *Gate) may(c *class, now time.Time) bool {
	if g.running == g.places || c == g.classes[0] {
		return g.running < g.places
	}
	return g.lower < g.places-g.kept(now) && (c.owed(now) || !g.rush(now))
}

// kept is how many places the lower lanes leave free.
func (g *Gate) kept(now time.Time) int {
	if now.Sub(g.seen) < vigil {
		return min(g.places-1, 1)
	}
	return 0
}

// admit gives away the places that are free; g.mu is held.
func (g *Gate) admit(now time.Time) {
	for {
		c := g.next(now)
		if c == nil {
			break
		}
		w := c.waiting.pop()
		g.enter(w, now)
		close(w.turn)
	}
	g.arm(now)
}

// next is whose turn it is; nil when nobody waits who may enter.
func (g *Gate) next(now time.Time) *class {
	first, lower := g.classes[0], (*class)(nil)
	owed := false
	for _, c := range g.classes[1:] {
		if c.waiting.len() == 0 || !g.may(c, now) {
			continue
		}
		its := c.owed(now)
		if lower == nil || its && !owed || its == owed && c.virtual < lower.virtual {
			lower, owed = c, its
		}
	}
	if owed || first.waiting.len() == 0 {
		return lower
	}
	if g.may(first, now) {
		return first
	}
	return nil
}

// rush says whether the lower lanes stand back; g.mu is held.
func (g *Gate) rush(now time.Time) bool {
	return now.Before(g.calm())
}

// calm is until when they do, unless something urgent comes or ends.
func (g *Gate) calm() time.Time {
	until := g.ended.Add(g.linger)
	if g.urgent.Len() > 0 {
		begun := g.urgent.Back().Value.(time.Time)
		if stale := begun.Add(fresh); stale.After(until) {
			until = stale
		}
	}
	return until
}

// arm sees to it that those who stand back come in when the rush is over or
// their floor is due; g.mu is held.
func (g *Gate) arm(now time.Time) {
	if g.running == g.places || g.lower >= g.places-g.kept(now) {
		return // who leaves will look
	}
	var next time.Time
	for _, c := range g.classes[1:] {
		if c.waiting.len() == 0 {
			continue
		}
		if at := c.dues(now); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if next.IsZero() {
		return
	}
	if calm := g.calm(); calm.Before(next) {
		next = calm
	}
	if !g.due.IsZero() && !g.due.After(next) {
		return // it fires before that and looks again
	}
	g.due = next
	if g.timer == nil {
		g.timer = time.AfterFunc(next.Sub(now), g.tick)
	} else {
		g.timer.Reset(next.Sub(now))
	}
}

func (g *Gate) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.due = time.Time{}
	g.admit(time.Now())
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
