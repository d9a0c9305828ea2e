package broker_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/broker/embedded"
	"kurir.dev/kit/telemetry"
)

// TestWardenDiskFull: the gate shuts when the disk takes no records of a topic
// that is written to, though nobody writes, and opens again; what is not
// written to does not matter.
func TestWardenDiskFull(t *testing.T) {
	t.Parallel()
	const enough = 1 << 30
	var free atomic.Int64
	free.Store(enough)
	b := brokertest.New(t, func(cfg *embedded.Config) {
		cfg.MinFreeBytes, cfg.GuardEvery = 2<<20, time.Millisecond
		cfg.Free = func(string) (int64, error) { return free.Load(), nil }
	})
	c := b.Client(nil, "otp")
	gate := func(topics ...string) *app.Ready {
		ready := app.NewReady()
		p := broker.NewProducer(c, telemetry.Discard())
		w := broker.NewWarden(c, p, []string{"otp"}, ready, slog.New(slog.DiscardHandler))
		w.Writes(topics...)
		ctx, cancel := context.WithCancel(context.Background())
		part := w.Part()
		if err := part.Start(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cancel()
			if err := part.Stop(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
			_ = p.Part().Stop(context.WithoutCancel(ctx))
		})
		return ready
	}
	until := func(r *app.Ready, want bool) {
		t.Helper()
		for {
			changed := r.Changed()
			if ok, _ := r.OK(); ok == want {
				return
			}
			select {
			case <-changed:
			case <-t.Context().Done():
				t.Fatal("the test's time is over")
			}
		}
	}
	lane, outcome := gate(c.Topics().Lane("otp")), gate(c.Topics().Outcome("otp"))
	until(lane, true)
	until(outcome, true)
	if brokertest.Apache() {
		return // its disk is not ours to fill
	}
	free.Store(3 << 19) // between the two floors: lanes alone are refused
	until(lane, false)
	if ok, why := outcome.OK(); !ok {
		t.Errorf("who writes outcomes is not ready: %s", why)
	}
	free.Store(0)
	until(outcome, false)
	free.Store(enough)
	until(lane, true)
	until(outcome, true)
}
