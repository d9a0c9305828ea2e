package gate

import "time"

// may says whether a step of c may have a place now, of a big tenant or not,
// others that wait left aside; g.mu is held.
func (g *Gate) may(c *class, big bool, now time.Time) bool {
	if g.running == g.places || c == g.classes[0] {
		return g.running < g.places
	}
	return g.lower < g.places-g.kept(now) &&
		(c.floor.owed(now) || !now.Before(g.calm())) &&
		(!big || c.bigs.owed(now) || !now.Before(g.calmed(c)))
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
		l := g.next(now)
		if l == nil {
			break
		}
		w := l.pop()
		g.enter(w, now)
		close(w.turn)
	}
	g.arm(now)
}

// next is whose turn it is; nil when nobody waits who may enter.
func (g *Gate) next(now time.Time) *line {
	var lower *class
	owed := false
	for _, c := range g.classes[1:] {
		if g.line(c, now) == nil {
			continue
		}
		its := c.floor.owed(now)
		if lower == nil || its && !owed || its == owed && c.virtual < lower.virtual {
			lower, owed = c, its
		}
	}
	if first := g.classes[0]; !owed && first.len() > 0 {
		return g.line(first, now)
	}
	if lower == nil {
		return nil
	}
	return g.line(lower, now)
}

// line is who of a class that waits may enter now: the small tenants, unless
// the big ones got less than their floor.
func (g *Gate) line(c *class, now time.Time) *line {
	big := c.big.len() > 0 && g.may(c, true, now)
	if c.small.len() > 0 && (!big || !c.bigs.owed(now)) && g.may(c, false, now) {
		return &c.small
	}
	if big {
		return &c.big
	}
	return nil
}

// calm is until when the lower lanes stand back for the first.
func (g *Gate) calm() time.Time { return g.classes[0].work.calm(g.linger) }

// calmed is until when the big tenants of c stand back for small ones, of its
// lane and of those above.
func (g *Gate) calmed(c *class) (until time.Time) {
	for _, above := range g.classes[1:] {
		if at := above.work.calm(g.linger); at.After(until) {
			until = at
		}
		if above == c {
			break
		}
	}
	return until
}

// opens is when somebody of c who waits may enter at the latest, if nothing
// begins and places are free.
func (g *Gate) opens(c *class, now time.Time) time.Time {
	at := earlier(c.floor.dues(now), g.calm())
	if c.small.len() > 0 {
		return at
	}
	if aside := earlier(c.bigs.dues(now), g.calmed(c)); aside.After(at) {
		return aside
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// arm sees to it that those who stand back come in when the rush is over or
// their floor is due; g.mu is held.
func (g *Gate) arm(now time.Time) {
	if g.running == g.places || g.lower >= g.places-g.kept(now) {
		return // who leaves will look
	}
	var next time.Time
	for _, c := range g.classes[1:] {
		if c.len() == 0 {
			continue
		}
		if at := g.opens(c, now); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if next.IsZero() {
		return
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
