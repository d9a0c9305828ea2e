package apache_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/telemetry"
)

// sender sends what the journal does not know, and journals it.
type sender struct {
	producer *broker.Producer

	mu      sync.Mutex
	settled map[string]bool
	sent    map[string]int
	seen    chan struct{} // one for each record handled
}

func (s *sender) Recover(_ context.Context, r custody.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled[string(r.Value)] = true
}

func (*sender) Revoke(int) {}

func (s *sender) Handle(d *custody.Delivery) {
	id := string(d.Value)
	s.mu.Lock()
	known := s.settled[id]
	if !known {
		s.settled[id] = true
		s.sent[id]++
	}
	s.mu.Unlock()
	at := broker.Position{Offset: -1}
	if !known {
		at, _ = s.producer.Produce(d.Context(), broker.Message{Topic: "kurir.outcome.otp", Partition: d.Partition, Value: d.Value})
	}
	d.Complete(at.Offset)
	s.seen <- struct{}{}
}

// TestOffsetsForgotten has the broker forget a group, as it does seven days
// after the last member left: the next one begins at the start, and knows from
// the journal what is settled.
func TestOffsetsForgotten(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(func(cfg *broker.Config) { cfg.Partitions = 1 }, "otp")
	p := b.Producer(c)
	const mails = 200
	s := &sender{producer: p, sent: map[string]int{}, seen: make(chan struct{}, 4*mails)}
	life := func(records int) {
		t.Helper()
		s.settled = map[string]bool{} // a new process knows nothing
		consumer, err := custody.New(c, telemetry.Discard(), s, custody.Config{Group: group, Topic: lane, Journal: "kurir.outcome.otp"})
		check(t, err)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = consumer.Run(ctx) })
		for range records {
			<-s.seen
		}
		stop()
		running.Wait()
	}
	put := func(from int) {
		t.Helper()
		for n := range mails {
			_, err := p.Produce(t.Context(), broker.Message{Topic: lane, Value: []byte(strconv.Itoa(from + n))})
			check(t, err)
		}
	}
	put(0)
	life(mails)
	res, err := c.Kafka().DeleteGroups(t.Context(), &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil || res.Errors[group] != nil {
		t.Fatalf("DeleteGroups() = %v, %v", res, err)
	}
	put(mails)
	life(2 * mails)
	for id, times := range s.sent {
		if times != 1 {
			t.Errorf("mail %s was sent %d times, want once", id, times)
		}
	}
	if len(s.sent) != 2*mails {
		t.Errorf("%d mails were sent, want %d", len(s.sent), 2*mails)
	}
}
