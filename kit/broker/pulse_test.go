package broker_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// turnedAway checks that err tells a caller to come back later.
func turnedAway(t *testing.T, what string, err error) {
	t.Helper()
	var fe *fault.Error
	if !errors.As(err, &fe) || fe.Kind != fault.Unavailable || fe.Reason != faultv1.Reason_REASON_BROKER_UNAVAILABLE || fe.RetryAfter <= 0 {
		t.Errorf("%s = %v, want REASON_BROKER_UNAVAILABLE with RetryAfter", what, err)
	}
}

// TestProducerGone takes the broker away: records are given up long before
// their time, the next ones refused at once, and taken again when it is back.
func TestProducerGone(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(func(cfg *broker.Config) { cfg.ProduceTimeout = time.Hour }, "bulk")
	p := b.Producer(c)
	brokertest.Fill(t, p, "kurir.lane.bulk", 0, 1)
	for range 2 {
		b.Stop()
		_, err := p.Produce(t.Context(), brokertest.Message("kurir.lane.bulk", 0, 1))
		turnedAway(t, "Produce() without a broker", err)
		m := brokertest.Message("kurir.lane.bulk", -1, 2)
		turnedAway(t, "Enqueue() without a broker", p.Enqueue(m, nil))
		if p.Healthy() {
			t.Error("Healthy() without a broker = true")
		}
		b.Start()
		brokertest.Eventually(t, p.Healthy)
		if _, err := p.Produce(t.Context(), m); err != nil {
			t.Errorf("Produce() with the broker back = %v", err)
		}
	}
}

// TestProducerHang gives the producer a broker that takes connections and
// never says a word.
func TestProducerHang(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	l, _ := b.Detour()
	var held sync.WaitGroup
	held.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); held.Wait() })
	c := b.Client(func(cfg *broker.Config) {
		cfg.Addrs, cfg.ProduceTimeout = []string{address(l.Addr())}, time.Hour
	})
	p := b.Producer(c)
	_, err := p.Produce(t.Context(), brokertest.Message("kurir.lane.bulk", 0, 1))
	turnedAway(t, "Produce() to a silent broker", err)
	if p.Healthy() {
		t.Error("Healthy() with a silent broker = true")
	}
}

// address is how a client is told of a listener.
func address(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}
