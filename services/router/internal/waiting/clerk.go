package waiting

import (
	"context"
	"sync"
	"time"
)

// clerk is who sees one lane's mail out: it works or it sleeps.
type clerk struct {
	lane   string
	signal chan struct{}

	mu   sync.Mutex
	next time.Time // when it means to wake; zero while it is awake
}

func newClerk(lane string) *clerk { return &clerk{lane: lane, signal: make(chan struct{}, 1)} }

// wake has it look around at a time, zero for now.
func (c *clerk) wake(at time.Time) {
	c.mu.Lock()
	sleeping := !c.next.IsZero() && !at.Before(c.next)
	c.mu.Unlock()
	if sleeping {
		return
	}
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

// sleep waits for a time, a wake, or the end of ctx.
func (c *clerk) sleep(ctx context.Context, now, until time.Time) {
	c.set(until)
	defer c.set(time.Time{})
	t := time.NewTimer(until.Sub(now))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-c.signal:
	}
}

func (c *clerk) set(next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = next
}
