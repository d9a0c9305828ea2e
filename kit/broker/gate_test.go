package broker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Prefix, cfg.Addrs = "eu", []string{"unix:/somewhere"}
	g := newGate(cfg)
	leave, err := g.enter(t.Context(), "eu.lane.bulk")
	if err != nil {
		t.Fatal(err)
	}
	for _, urgent := range []string{"eu.lane.otp", "eu.outcome.otp"} {
		if _, err := g.enter(t.Context(), urgent); err != nil {
			t.Errorf("enter(%s) = %v, want nil at once", urgent, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(ended, "eu.events"); !errors.Is(err, context.Canceled) {
		t.Errorf("enter(eu.events) beside another = %v, want context.Canceled", err)
	}
	leave(1)
	if _, err := g.enter(t.Context(), "eu.events"); err != nil {
		t.Errorf("enter(eu.events) alone = %v, want nil", err)
	}
}

func TestGateOpenOnCluster(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Addrs = []string{"kafka:9092"}
	g := newGate(cfg)
	for range 100 {
		if _, err := g.enter(t.Context(), "kurir.lane.bulk"); err != nil {
			t.Fatal(err)
		}
	}
}

// After a request of some records the next waits, after a lone one it does not.
func TestGatePaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := Default()
		cfg.Addrs = []string{"unix:/somewhere"}
		g := newGate(cfg)
		pass := func(records int) time.Duration {
			t.Helper()
			asked := time.Now()
			leave, err := g.enter(t.Context(), "kurir.lane.bulk")
			if err != nil {
				t.Fatal(err)
			}
			leave(records)
			return time.Since(asked)
		}
		for i, want := range []time.Duration{0, 0, pace, pace, 0} {
			if got := pass([]int{1, some, some, some - 1, 1}[i]); got != want {
				t.Errorf("request %d waited %v, want %v", i, got, want)
			}
		}
		pass(some)
		ended, cancel := context.WithTimeout(t.Context(), pace/2)
		defer cancel()
		if _, err := g.enter(ended, "kurir.lane.bulk"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("enter() = %v when its time ends before its turn, want context.DeadlineExceeded", err)
		}
		if got := pass(1); got != pace/2 {
			t.Errorf("the next waited %v, want the rest of the pace, %v", got, pace/2)
		}
	})
}
