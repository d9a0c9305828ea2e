package broker

import (
	"context"

	"kurir.dev/kit/topic"
)

// gate keeps produce requests from standing in the way of urgent ones.
type gate struct {
	urgent map[string]bool // topics that go at once
	slots  chan struct{}   // of all others; nil lets all through
}

func newGate(cfg Config) *gate {
	g := &gate{urgent: make(map[string]bool)}
	names := topic.Names{Prefix: cfg.Prefix}
	for _, l := range cfg.Urgent {
		g.urgent[names.Lane(l)], g.urgent[names.Outcome(l)] = true, true
	}
	n := cfg.InFlight
	if n == 0 && cfg.socket() != "" {
		n = 1
	}
	if n > 0 {
		g.slots = make(chan struct{}, n)
	}
	return g
}

// enter waits for a turn to send a request; leave gives it up. It fails when
// ctx ends first.
func (g *gate) enter(ctx context.Context, topic string) (leave func(), err error) {
	if g.slots == nil || g.urgent[topic] {
		return func() {}, nil
	}
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
