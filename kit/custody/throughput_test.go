package custody_test

import (
	"context"
	"sync"
	"syscall"
	"testing"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/telemetry"
)

// counter completes everything at once and tells when all of it came.
type counter struct {
	left sync.WaitGroup
}

func (*counter) Recover(context.Context, custody.Record) {}
func (*counter) Revoke(int)                              {}

func (c *counter) Handle(d *custody.Delivery) {
	d.Complete(-1)
	c.left.Done()
}

// BenchmarkConsume measures what a record of 10 KB with the headers of a mail
// costs from a full lane to its completion; the broker, which is in this
// process, counted.
func BenchmarkConsume(b *testing.B) {
	br := brokertest.New(b, nil)
	c := br.Client(func(cfg *broker.Config) { cfg.Partitions, cfg.QueueRecords, cfg.QueueBytes = 1, 1<<20, 1<<40 }, "otp")
	p := br.Producer(c)
	m := broker.Message{Topic: lane, Partition: 0, Key: make([]byte, 36), Value: make([]byte, 10<<10)}
	for _, name := range []string{"kurir-mail-id", "kurir-lane", "kurir-tenant", "kurir-attempt", "kurir-expires-at", "traceparent"} {
		m.Headers = append(m.Headers, broker.Header{Key: name, Value: make([]byte, 20)})
	}
	var acks sync.WaitGroup
	for range b.N {
		acks.Add(1)
		if err := p.Enqueue(m, func(broker.Position, error) { acks.Done() }); err != nil {
			b.Fatal(err)
		}
	}
	acks.Wait()
	h := &counter{}
	h.left.Add(b.N)
	consumer, err := custody.New(c, telemetry.Discard(), h, custody.Config{Group: "dispatcher", Topic: lane})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	done := make(chan struct{})
	b.ReportAllocs()
	b.ResetTimer()
	before := processor(b)
	go func() {
		defer close(done)
		_ = consumer.Run(ctx)
	}()
	h.left.Wait()
	b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-us/op")
	b.StopTimer()
	cancel()
	<-done
}

// processor is the processor time of this process, in microseconds.
func processor(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return (u.Utime.Nano() + u.Stime.Nano()) / 1000
}
