package broker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/topic"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

func TestProducerConcurrent(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil, "bulk")
	p := b.Producer(c)
	var wg sync.WaitGroup
	const callers, each = 32, 50
	for range callers {
		wg.Go(func() {
			last := int64(-1)
			for i := range each {
				pos, err := p.Produce(t.Context(), brokertest.Message("kurir.lane.bulk", 3, i))
				if err != nil || pos.Partition != 3 || pos.Offset <= last {
					t.Errorf("Produce() = %+v, %v after offset %d", pos, err, last)
					return
				}
				last = pos.Offset
			}
		})
	}
	wg.Wait()
	brokertest.Expect(t, c, "kurir.lane.bulk", 3, callers*each)
}

func TestProducerPartitionByKey(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	p := b.Producer(b.Client(nil, "bulk"))
	seen := map[int]int{}
	for i := range 64 {
		m := brokertest.Message("kurir.lane.bulk", -1, i)
		want, err := p.PartitionOf(m.Topic, m.Key)
		if err != nil {
			t.Fatal(err)
		}
		pos, err := p.Produce(t.Context(), m)
		if err != nil || pos.Partition != want {
			t.Fatalf("Produce(key %q) = %+v, %v, want partition %d", m.Key, pos, err, want)
		}
		seen[want]++
	}
	if len(seen) != 4 {
		t.Errorf("64 keys reach %d of 4 partitions: %v", len(seen), seen)
	}
}

// A key's partition in a band is its hash's among the band's own.
func TestProducerPartitionIn(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	p := b.Producer(b.Client(func(cfg *broker.Config) { cfg.Partitions = 7 }, "bulk"))
	bands := map[topic.Band][]int{topic.Ordinary: {0, 1, 2, 3}, topic.Overflow: {4, 5, 6}}
	for band, parts := range bands {
		for i := range 200 {
			key := fmt.Appendf(nil, "key-%d", i)
			got, err := p.PartitionIn("kurir.lane.bulk", key, band)
			if want := (kafka.Murmur2Balancer{}).Balance(kafka.Message{Key: key}, parts...); err != nil || got != want {
				t.Errorf("PartitionIn(%q, %v) = %d, %v, want %d", key, band, got, err, want)
			}
		}
	}
	if _, err := p.PartitionIn("kurir.lane.none", nil, topic.Overflow); !errors.Is(err, fault.Unavailable) {
		t.Errorf("PartitionIn() of no topic = %v, want fault.Unavailable", err)
	}
}

// The hash is that of Kafka's Java client, so that others find our keys.
func TestProducerHash(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	p := b.Producer(b.Client(func(cfg *broker.Config) { cfg.Partitions = 7 }, "bulk"))
	parts := []int{0, 1, 2, 3, 4, 5, 6}
	for i := range 200 {
		key := fmt.Appendf(nil, "%0*d", i%13, i)
		got, err := p.PartitionOf("kurir.lane.bulk", key)
		if want := (kafka.Murmur2Balancer{}).Balance(kafka.Message{Key: key}, parts...); err != nil || got != want {
			t.Errorf("PartitionOf(%q) = %d, %v, want %d", key, got, err, want)
		}
	}
}

func TestProducerBounds(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(func(cfg *broker.Config) {
		cfg.QueueRecords, cfg.MaxRecordBytes, cfg.ProduceTimeout = 10, 2000, time.Minute
	}, "bulk", "otp")
	p := b.Producer(c)
	brokertest.Fill(t, p, "kurir.lane.bulk", 0, 1)

	big := brokertest.Message("kurir.lane.bulk", 0, 1)
	big.Value = make([]byte, 2000)
	_, err := p.Produce(t.Context(), big)
	var fe *fault.Error
	if !errors.As(err, &fe) || fe.Kind != fault.Invalid || fe.Reason != faultv1.Reason_REASON_MAIL_TOO_LARGE {
		t.Errorf("Produce(too large) = %v, want fault.Invalid", err)
	}

	b.Stop() // nothing is acknowledged any more
	var refusal error
	for i := 0; i <= 10 && refusal == nil; i++ {
		refusal = p.Enqueue(brokertest.Message("kurir.lane.bulk", 0, i), nil)
	}
	if !errors.As(refusal, &fe) || fe.RetryAfter <= 0 ||
		!errors.Is(refusal, fault.Exhausted) && !errors.Is(refusal, fault.Unavailable) {
		t.Errorf("Enqueue() on a full queue = %v, want fault.Exhausted or Unavailable with RetryAfter", refusal)
	}
	if err := p.Enqueue(brokertest.Message("kurir.lane.otp", 0, 0), nil); err != nil {
		t.Errorf("Enqueue() of an urgent record on a queue full of others = %v, want room for it", err)
	}
	brokertest.Eventually(t, func() bool { return !p.Healthy() })
	b.Start()
	brokertest.Eventually(t, p.Healthy)
}

func TestProducerUnreachable(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(func(cfg *broker.Config) { cfg.ProduceTimeout = 50 * time.Millisecond }, "bulk")
	p := b.Producer(c)
	b.Stop()

	if err := c.Ping(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Ping() without a broker = %v, want fault.Unavailable", err)
	}
	_, err := p.Produce(t.Context(), brokertest.Message("kurir.lane.bulk", 0, 1))
	var fe *fault.Error
	if !errors.As(err, &fe) || fe.Reason != faultv1.Reason_REASON_BROKER_UNAVAILABLE || fe.RetryAfter <= 0 {
		t.Errorf("Produce() without a broker = %v, want REASON_BROKER_UNAVAILABLE with RetryAfter", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Produce(ctx, brokertest.Message("kurir.lane.bulk", 0, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Produce() of a caller who left = %v, want context.Canceled", err)
	}

	b.Start()
	brokertest.Eventually(t, func() bool {
		_, err := p.Produce(t.Context(), brokertest.Message("kurir.lane.bulk", 0, 2))
		return err == nil && p.Healthy()
	})
}

func TestProducerStopFlushes(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil, "bulk")
	p := broker.NewProducer(c, telemetry.Discard())
	for i := range 1000 {
		if err := p.Enqueue(brokertest.Message("kurir.lane.bulk", 0, i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Part().Stop(t.Context()); err != nil {
		t.Fatalf("Stop() = %v", err)
	}
	brokertest.Expect(t, c, "kurir.lane.bulk", 0, 1000)
	if err := p.Enqueue(brokertest.Message("kurir.lane.bulk", 0, 1), nil); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Enqueue() after Stop = %v, want fault.Unavailable", err)
	}
}

func TestProducerStopBounded(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(func(cfg *broker.Config) { cfg.ProduceTimeout = time.Hour }, "bulk")
	p := broker.NewProducer(c, telemetry.Discard())
	b.Stop()
	given := make(chan error, 1)
	if err := p.Enqueue(brokertest.Message("kurir.lane.bulk", 0, 1), func(_ broker.Position, err error) { given <- err }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Part().Stop(ctx); err == nil {
		t.Error("Stop() without a broker = nil, want an error")
	}
	if err := <-given; !errors.Is(err, fault.Unavailable) {
		t.Errorf("queued record ended with %v, want fault.Unavailable", err)
	}
}
