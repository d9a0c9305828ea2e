package broker

import (
	"context"
	"errors"
	"testing"
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
	leave()
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
