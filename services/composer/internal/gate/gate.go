// Package gate admits a bounded number of workers to a stretch of code that is
// all computation, the urgent ones first: however much bulk mail waits to be
// rendered, a one-time password waits for one rendering at most.
package gate

import (
	"context"
	"sync"
)

// share is how many urgent workers pass before one that is not passes though
// urgent ones still wait: nobody starves.
const share = 16

// Gate is the gate. Make it with [New].
type Gate struct {
	mu     sync.Mutex
	free   int
	urgent queue
	others queue
	passed int // urgent workers since the last other one
}

// New returns a gate for n workers at a time, at least one.
func New(n int) *Gate { return &Gate{free: max(n, 1)} }

// queue holds those who wait, in the order they came; a closed channel is the
// permission to enter. Who gave up stays until its turn and is skipped.
type queue []*ticket

// ticket is one who waits.
type ticket struct {
	in   chan struct{}
	gone bool
}

// Enter waits for a place. The worker must call leave exactly once. The error
// is that of ctx.
func (g *Gate) Enter(ctx context.Context, urgent bool) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return g.leave, nil
	}
	t := &ticket{in: make(chan struct{})}
	line := &g.others
	if urgent {
		line = &g.urgent
	}
	*line = append(*line, t)
	g.mu.Unlock()

	select {
	case <-t.in:
		return g.leave, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-t.in: // admitted meanwhile: the place goes to the next
		g.next()
	default:
		t.gone = true
	}
	return nil, ctx.Err()
}

// leave gives the place to the next.
func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next()
}

// next admits the next who waits, or keeps the place free.
func (g *Gate) next() {
	first, second := &g.urgent, &g.others
	if g.passed >= share {
		first, second = second, first
	}
	if t := first.pop(); t != nil {
		g.admit(t, first)
		return
	}
	if t := second.pop(); t != nil {
		g.admit(t, second)
		return
	}
	g.free++
}

// admit lets t in, who came from line.
func (g *Gate) admit(t *ticket, line *queue) {
	if line == &g.urgent {
		g.passed++
	} else {
		g.passed = 0
	}
	close(t.in)
}

// pop returns the first who did not give up; nil when there is none.
func (q *queue) pop() *ticket {
	for len(*q) > 0 {
		t := (*q)[0]
		(*q)[0] = nil
		*q = (*q)[1:]
		if !t.gone {
			return t
		}
	}
	return nil
}
