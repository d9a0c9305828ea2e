package broker

import (
	"context"
	"time"

	"kurir.dev/kit/topic"
)

const (
	// pace is the least time from the beginning of a request of some records to
	// that of the next in its slot, as Kafka's linger.ms under load: what comes
	// meanwhile goes together, for one sync. A trickle does not wait.
	pace = 5 * time.Millisecond
	// some records in one request are load.
	some = 4
)

// gate keeps produce requests from standing in the way of urgent ones.
type gate struct {
	urgent map[string]bool // topics that go at once
	slots  chan time.Time  // of all others, with when each was last taken under load; nil lets all through
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
		g.slots = make(chan time.Time, n)
		for range n {
			g.slots <- time.Time{}
		}
	}
	return g
}

// enter waits for a turn to send a request; leave gives it up and tells how many
// records the request had. It fails when ctx ends first.
func (g *gate) enter(ctx context.Context, topic string) (leave func(records int), err error) {
	if g.slots == nil || g.urgent[topic] {
		return func(int) {}, nil
	}
	var last time.Time
	select {
	case last = <-g.slots:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if wait := time.Until(last.Add(pace)); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			g.slots <- last
			return nil, ctx.Err()
		}
	}
	now := time.Now()
	return func(records int) {
		if records < some {
			now = time.Time{}
		}
		g.slots <- now
	}, nil
}
