package dial_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/services/dispatcher/internal/dial"
)

// net fake: addresses answer after a while, refuse, or stay silent.
type world struct {
	after   map[string]time.Duration
	refuse  map[string]bool
	open    atomic.Int64
	dialled atomic.Int64
}

type conn struct {
	net.Conn
	w *world
}

func (c conn) Close() error { c.w.open.Add(-1); return nil }

func (w *world) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	w.dialled.Add(1)
	if w.refuse[address] {
		return nil, errors.New("refused")
	}
	d, ok := w.after[address]
	if !ok {
		d = time.Hour
	}
	select {
	case <-time.After(d):
		w.open.Add(1)
		return conn{w: w}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func targets(addrs ...string) []dial.Target {
	var out []dial.Target
	for _, a := range addrs {
		out = append(out, dial.Target{Host: a, Network: "tcp", Address: a})
	}
	return out
}

func TestRace(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		after   map[string]time.Duration
		refuse  map[string]bool
		targets []string
		want    string
		took    time.Duration
		dialled int64
	}{
		{"the first answers", map[string]time.Duration{"a": time.Millisecond, "b": 0}, nil, []string{"a", "b"}, "a", time.Millisecond, 1},
		{"the first is silent", map[string]time.Duration{"b": time.Millisecond}, nil, []string{"a", "b"}, "b", 251 * time.Millisecond, 2},
		{"the first refuses", map[string]time.Duration{"b": time.Millisecond}, map[string]bool{"a": true}, []string{"a", "b"}, "b", time.Millisecond, 2},
		{"both answer at once", map[string]time.Duration{"a": 300 * time.Millisecond, "b": 50 * time.Millisecond}, nil, []string{"a", "b"}, "a", 300 * time.Millisecond, 2},
		{"none answers", nil, nil, []string{"a", "b"}, "", 5*time.Second + 250*time.Millisecond, 2},
		{"all refuse", nil, map[string]bool{"a": true, "b": true}, []string{"a", "b"}, "", 0, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &world{after: tt.after, refuse: tt.refuse}
				begin := time.Now()
				won, err := dial.Race(t.Context(), w, targets(tt.targets...), dial.Stagger, 5*time.Second)
				if (err == nil) != (tt.want != "") {
					t.Fatalf("Race error = %v, want winner %q", err, tt.want)
				}
				if tt.name != "both answer at once" && won.Target.Address != tt.want {
					t.Errorf("Race won by %q, want %q", won.Target.Address, tt.want)
				}
				if took := time.Since(begin); took != tt.took {
					t.Errorf("Race took %v, want %v", took, tt.took)
				}
				if w.dialled.Load() != tt.dialled {
					t.Errorf("dialled %d, want %d", w.dialled.Load(), tt.dialled)
				}
				open := int64(0)
				if tt.want != "" {
					open = 1
				}
				if w.open.Load() != open {
					t.Errorf("%d connections open, want %d", w.open.Load(), open)
				}
			})
		})
	}
}

func TestRaceWithoutTargets(t *testing.T) {
	t.Parallel()
	if _, err := dial.Race(t.Context(), &world{}, nil, time.Second, time.Second); err == nil {
		t.Error("Race of nobody succeeded")
	}
}
