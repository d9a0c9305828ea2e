// Package gate shares a few processors among lanes: heavy steps such as
// signing pass it one by one, those of the highest lane first. One place is
// for the highest lane alone when there are several, so that it never waits
// for a whole step of another.
package gate

import (
	"context"
	"sync"
)

// Gate is a bounded, prioritised passage. Safe for concurrent use.
type Gate struct {
	mu      sync.Mutex
	free    int
	keep    int // places the lower lanes leave free
	waiting [2][]chan struct{}
}

// New makes a gate with so many places, at least one.
func New(places int) *Gate {
	places = max(places, 1)
	return &Gate{free: places, keep: min(places-1, 1)}
}

// Enter waits for a place; urgent goes before all that is not. Leave it by
// calling the function returned, once. The error is ctx's.
func (g *Gate) Enter(ctx context.Context, urgent bool) (leave func(), err error) {
	class := 1
	if urgent {
		class = 0
	}
	g.mu.Lock()
	if g.free > g.kept(class) && len(g.waiting[class]) == 0 {
		g.free--
		g.mu.Unlock()
		return g.leave, nil
	}
	turn := make(chan struct{}, 1)
	g.waiting[class] = append(g.waiting[class], turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return g.leave, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	for i, w := range g.waiting[class] {
		if w == turn {
			g.waiting[class] = append(g.waiting[class][:i], g.waiting[class][i+1:]...)
			g.mu.Unlock()
			return nil, ctx.Err()
		}
	}
	g.mu.Unlock()
	g.leave() // the turn came in the same moment
	return nil, ctx.Err()
}

func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free++
	for class := range g.waiting {
		for len(g.waiting[class]) > 0 && g.free > g.kept(class) {
			g.waiting[class][0] <- struct{}{}
			g.waiting[class] = g.waiting[class][1:]
			g.free--
		}
	}
}

func (g *Gate) kept(class int) int {
	if class == 0 {
		return 0
	}
	return g.keep
}
