package group

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"kurir.dev/kit/broker/embedded/internal/group/machine"
)

// cell is a group that has members, or is about to.
type cell struct {
	name string
	next atomic.Int64 // when its machine is due, by the coordinator's clock

	mu      sync.Mutex
	machine *machine.Group
	waiting map[machine.Ticket]chan machine.Reply // each has room for its answer
	closed  bool
}

// find returns the cell of a group, and makes it if create is set; nil when
// there is none.
func (c *Coordinator) find(name string, create bool) *cell {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.cells[name]
	if g == nil && create && !c.closed {
		g = newCell(name, machine.New(c.bounds(), c.highest.Load()))
		c.cells[name] = g
	}
	return g
}

func newCell(name string, m *machine.Group) *cell {
	g := &cell{name: name, machine: m, waiting: make(map[machine.Ticket]chan machine.Reply)}
	g.next.Store(math.MaxInt64)
	return g
}

// bounds are those of every group.
func (c *Coordinator) bounds() machine.Config {
	return machine.Config{
		MinSession: c.cfg.MinSession, MaxSession: c.cfg.MaxSession,
		InitialDelay: c.cfg.InitialDelay, MaxMembers: maxMembers,
	}
}

// drop removes a dead cell.
func (c *Coordinator) drop(g *cell) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cells[g.name] == g {
		delete(c.cells, g.name)
	}
}

// visit runs f on the cell of a group, under its lock, and hands out the
// answers that f returns. It returns false when there is no cell: the group
// has no members, or, if create is set, the coordinator is closed. A cell that
// is left without members ends.
func (c *Coordinator) visit(name string, create bool, f func(g *cell, now time.Time) []machine.Reply) bool {
	for {
		g := c.find(name, create)
		if g == nil {
			return false
		}
		visited, closed := c.enter(g, f)
		switch {
		case closed:
			return false
		case visited:
			return true
		}
		c.drop(g) // died since it was found
	}
}

// enter runs f on a cell, if it is alive, and lets it end if it is left
// without members.
func (c *Coordinator) enter(g *cell, f func(g *cell, now time.Time) []machine.Reply) (visited, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.machine.State() == machine.Dead {
		return false, g.closed
	}
	c.enact(g, f)
	if g.machine.State() == machine.Dead {
		c.drop(g)
	}
	return true, false
}

// enact runs f on a cell that is locked.
func (c *Coordinator) enact(g *cell, f func(g *cell, now time.Time) []machine.Reply) {
	was := g.machine.Generation()
	for _, r := range f(g, time.Now()) {
		if wait, ok := g.waiting[r.Ticket]; ok {
			delete(g.waiting, r.Ticket)
			wait <- r
		}
	}
	if is := g.machine.Generation(); is != was {
		c.reached(is)
		c.log.Debug("generation of a group begins", slog.String("group", g.name), slog.Int("generation", int(is)))
	}
	if s := g.machine.Unsaved(); s != nil {
		c.save(g, s)
	}
	if g.machine.Idle() {
		_ = g.machine.End() // an idle group can end
	}
	c.schedule(g)
}

// schedule tells the clock when a cell is due.
func (c *Coordinator) schedule(g *cell) {
	next := int64(math.MaxInt64) // never
	if due := g.machine.Next(); !due.IsZero() {
		next = int64(due.Sub(c.began))
	}
	g.next.Store(next)
	if next < c.wake.Load() {
		select {
		case c.nudge <- struct{}{}:
		default: // it looks anyway
		}
	}
}

// call has a request wait in the machine until it is answered. When ctx ends
// first the request is abandoned; answered is then false, unless the answer
// came at the same time.
func (c *Coordinator) call(
	ctx context.Context, name string, create bool, t machine.Ticket,
	f func(g *machine.Group, now time.Time) []machine.Reply,
) (reply machine.Reply, answered bool) {
	wait := make(chan machine.Reply, 1)
	found := c.visit(name, create, func(g *cell, now time.Time) []machine.Reply {
		g.waiting[t] = wait
		return f(g.machine, now)
	})
	if !found {
		return machine.Reply{Err: c.absent()}, true
	}
	select {
	case reply = <-wait:
		return reply, true
	case <-ctx.Done():
	}
	c.visit(name, false, func(g *cell, now time.Time) []machine.Reply {
		delete(g.waiting, t)
		return g.machine.Abandon(now, t)
	})
	select {
	case reply = <-wait:
		return reply, true
	default:
		return machine.Reply{Err: kerr.CoordinatorNotAvailable}, false
	}
}

// absent is the error for who names a member of a group that has none.
func (c *Coordinator) absent() *kerr.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return kerr.CoordinatorNotAvailable
	}
	return kerr.UnknownMemberID
}

// close refuses everyone who waits, for good.
func (g *cell) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for t, wait := range g.waiting {
		wait <- machine.Reply{Ticket: t, Err: kerr.CoordinatorNotAvailable}
	}
	clear(g.waiting)
}
