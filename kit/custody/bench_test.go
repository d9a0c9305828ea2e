package custody_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/broker/embedded"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/telemetry"
)

// BenchmarkRoundTrip measures a lone record from the call that produces it,
// synced to disk, until its handler has it.
func BenchmarkRoundTrip(b *testing.B) {
	br := brokertest.New(b, func(cfg *embedded.Config) { cfg.Sync = true })
	c := br.Client(nil, "otp")
	p := br.Producer(c)
	h := newHands()
	cfg := quick()
	cfg.CommitEvery = 200 * time.Millisecond
	consumer, err := custody.New(c, telemetry.Discard(), h, cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = consumer.Run(ctx)
	}()
	value := make([]byte, 2048)
	send := func() time.Duration {
		start := time.Now()
		if err := p.Enqueue(broker.Message{Topic: lane, Partition: 0, Value: value}, nil); err != nil {
			b.Fatal(err)
		}
		d := <-h.got
		took := time.Since(start)
		d.Complete(-1)
		return took
	}
	send() // joined
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range took {
		took[i] = send()
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	cancel()
	<-done
}
