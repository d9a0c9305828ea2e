package broker_test

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/broker/embedded"
)

// BenchmarkProduce measures records of 2 KB from callers that each wait for
// their acknowledgement, over four partitions, every one synced to disk.
func BenchmarkProduce(b *testing.B) {
	for _, bench := range []struct {
		name    string
		callers int
		sync    bool
	}{{"sync/1", 1, true}, {"sync/64", 64, true}, {"cache/1", 1, false}, {"cache/64", 64, false}} {
		b.Run(bench.name, func(b *testing.B) {
			br := brokertest.New(b, func(cfg *embedded.Config) { cfg.Sync = bench.sync })
			c := br.Client(nil, "otp")
			p := br.Producer(c)
			value := make([]byte, 2048)
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for caller := range bench.callers {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						start := time.Now()
						if _, err := p.Produce(b.Context(), broker.Message{Topic: "kurir.lane.otp", Partition: caller % 4, Value: value}); err != nil {
							b.Error(err)
							return
						}
						took[i] = time.Since(start)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}

// BenchmarkProduceUrgent measures lone records of an urgent lane beside a
// flood of others, all synced to disk.
func BenchmarkProduceUrgent(b *testing.B) {
	for _, inFlight := range []int{1, 2, 4, 1000} {
		b.Run("bulk-in-flight-"+strconv.Itoa(inFlight), func(b *testing.B) {
			br := brokertest.New(b, func(cfg *embedded.Config) { cfg.Sync = true })
			c := br.Client(func(cfg *broker.Config) { cfg.InFlight = inFlight }, "otp", "bulk")
			p := br.Producer(c)
			value := make([]byte, 2048)
			stop := make(chan struct{})
			var flood atomic.Int64
			var wg sync.WaitGroup
			for caller := range 64 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if _, err := p.Produce(b.Context(), broker.Message{Topic: "kurir.lane.bulk", Partition: caller % 4, Value: value}); err != nil {
							b.Error(err)
							return
						}
						flood.Add(1)
					}
				})
			}
			took := make([]time.Duration, b.N)
			b.ResetTimer()
			for i := range took {
				start := time.Now()
				if _, err := p.Produce(b.Context(), broker.Message{Topic: "kurir.lane.otp", Partition: i % 4, Value: value}); err != nil {
					b.Fatal(err)
				}
				took[i] = time.Since(start)
			}
			b.StopTimer()
			b.ReportMetric(float64(flood.Load())/b.Elapsed().Seconds(), "bulk/s")
			close(stop)
			wg.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}
