package embedded_test

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

func synced(cfg *embedded.Config) { cfg.Sync = true }

// timed has callers produce n records of 2 KB one after the other, each waiting
// for its acknowledgement, on as many partitions, and returns how long each
// took, sorted, and all together.
func timed(b *testing.B, p *broker.Producer, lane string, callers, partitions, n int) (took []time.Duration, all time.Duration) {
	b.Helper()
	value := make([]byte, 2048)
	took = make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for caller := range callers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				start := time.Now()
				m := broker.Message{Topic: "kurir.lane." + lane, Partition: caller % partitions, Value: value}
				if _, err := p.Produce(b.Context(), m); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took, time.Since(began)
}

// BenchmarkCallers says how much more callers at once get done than one, every
// record synced: what group commit is worth, on one partition and on three
// that do not wait for each other.
func BenchmarkCallers(b *testing.B) {
	br := brokertest.New(b, synced)
	p := br.Producer(br.Client(func(cfg *broker.Config) { cfg.InFlight = 1000 }, "bulk"))
	_, alone := timed(b, p, "bulk", 1, 1, b.N)
	for _, partitions := range []int{1, 3} {
		_, together := timed(b, p, "bulk", 64, partitions, b.N)
		b.ReportMetric(float64(alone)/float64(together), "x64-callers-on-"+strconv.Itoa(partitions))
	}
	b.ReportMetric(float64(b.N)/alone.Seconds(), "alone/s")
}

// BenchmarkUrgent says how much longer a lone record of one lane takes while
// another lane is flooded than while all is quiet.
func BenchmarkUrgent(b *testing.B) {
	br := brokertest.New(b, synced)
	p := br.Producer(br.Client(nil, "otp", "bulk"))
	idle, _ := timed(b, p, "otp", 1, 1, b.N)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	var count atomic.Int64
	for caller := range 64 {
		flood.Go(func() {
			value := make([]byte, 10<<10)
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
				count.Add(1)
			}
		})
	}
	began := time.Now()
	beside, _ := timed(b, p, "otp", 1, 1, b.N)
	b.ReportMetric(float64(count.Load())/time.Since(began).Seconds(), "bulk/s")
	close(stop)
	flood.Wait()
	for name, at := range map[string]int{"p50": 50, "p99": 99} {
		i := b.N * at / 100
		b.ReportMetric(float64(idle[i].Microseconds()), name+"-idle-us")
		b.ReportMetric(float64(beside[i])/float64(idle[i]), name+"-flood/idle")
	}
}
