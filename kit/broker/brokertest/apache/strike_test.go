package apache_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/broker/brokertest/apache"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/telemetry"
)

const (
	lane       = "kurir.lane.otp"
	group      = "dispatcher"
	partitions = 3
	window     = 64
)

// place is where a record lies.
type place struct {
	partition int
	offset    int64
}

// ledger keeps what was accepted and what was handed out.
type ledger struct {
	mu       sync.Mutex
	accepted map[string]bool
	handed   map[string]map[place]int // by mail id: times each record of it came
	strange  []string
	last     [partitions]time.Time     // when a record of it came
	gap      [partitions]time.Duration // the longest wait for one
	mails    brokertest.Tally          // handed out
}

func (*ledger) Recover(context.Context, custody.Record) {}
func (*ledger) Revoke(int)                              {}

// Handle implements custody.Handler: everything is done at once.
func (l *ledger) Handle(d *custody.Delivery) {
	id := string(d.Value)
	l.mu.Lock()
	if len(d.Headers) != 1 || string(d.Headers[0].Value) != id || string(d.Key) != id {
		l.strange = append(l.strange, id)
	}
	if l.handed[id] == nil {
		l.handed[id] = map[place]int{}
		l.mails.Add()
	}
	l.handed[id][place{d.Partition, d.Offset}]++
	now := time.Now()
	if last := l.last[d.Partition]; !last.IsZero() {
		l.gap[d.Partition] = max(l.gap[d.Partition], now.Sub(last))
	}
	l.last[d.Partition] = now
	l.mu.Unlock()
	d.Complete(-1)
}

// everywhere waits until every partition has handed out again what was
// produced from now on.
func (l *ledger) everywhere(t *testing.T) {
	t.Helper()
	began := time.Now()
	for {
		l.mu.Lock()
		here := 0
		for _, last := range l.last {
			if last.After(began.Add(calm)) {
				here++
			}
		}
		l.mu.Unlock()
		if here == partitions {
			return
		}
		l.mails.More(t, 1)
	}
}

// calm is longer than a cluster needs to notice that a node is dead: what is
// handed out after it does not come from before.
const calm = 5 * time.Second

// gaps returns the longest waits of the partitions and forgets them.
func (l *ledger) gaps() (gaps [partitions]time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gaps, l.gap = l.gap, gaps
	for i := range gaps {
		gaps[i] = gaps[i].Round(10 * time.Millisecond)
	}
	return gaps
}

// produce sends mails until stop, each again under its id until it is
// acknowledged.
func (l *ledger) produce(ctx context.Context, p *broker.Producer, sender int, stop <-chan struct{}) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		id := strconv.Itoa(sender) + "-" + strconv.Itoa(n)
		_, err := p.Produce(ctx, broker.Message{
			Topic: lane, Partition: -1, Key: []byte(id), Value: []byte(id), Headers: []broker.Header{{Key: "mail-id", Value: []byte(id)}},
		})
		if err != nil {
			continue
		}
		n++
		l.mu.Lock()
		l.accepted[id] = true
		l.mu.Unlock()
	}
}

// TestStrikes strikes a cluster of three while mails flow through it: a broker
// is killed and comes back, leaders move, the group's coordinator is killed.
// Nothing is lost, and a record comes again only when it was in flight.
func TestStrikes(t *testing.T) {
	c := three(t)
	cfg := broker.Default()
	cfg.Addrs, cfg.Replication, cfg.Partitions = c.Addrs(), 3, partitions
	client, err := broker.Dial(cfg, telemetry.Discard())
	check(t, err)
	t.Cleanup(func() { _ = client.Close() })
	check(t, client.EnsureTopics(t.Context(), []string{"otp"}))
	for p := range partitions {
		check(t, c.InSync(t.Context(), lane, p, 3))
	}

	l := &ledger{accepted: map[string]bool{}, handed: map[string]map[place]int{}}
	for range 2 { // two members
		consumer, err := custody.New(client, telemetry.Discard(), l, custody.Config{
			Group: group, Topic: lane, MaxRecords: window, Session: 6 * time.Second, Rebalance: 8 * time.Second,
			Heartbeat: 500 * time.Millisecond, Drain: 2 * time.Second, CommitEvery: 50 * time.Millisecond,
		})
		check(t, err)
		running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		var life sync.WaitGroup
		life.Go(func() { _ = consumer.Run(running) })
		t.Cleanup(func() { stop(); life.Wait() })
	}
	producer := broker.NewProducer(client, telemetry.Discard())
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for i := range 8 {
		senders.Go(func() { l.produce(t.Context(), producer, i, stop) })
	}
	l.mails.More(t, 200)
	l.gaps()

	strikes := []struct {
		name   string
		strike func(t *testing.T, c *apache.Cluster) (mend func() error)
	}{
		{"a leader is killed", func(t *testing.T, c *apache.Cluster) func() error {
			node := must[int](t)(c.Leader(t.Context(), lane, 0))
			c.Kill(node)
			return func() error { return c.Begin(t.Context(), node) }
		}},
		{"leaders move", func(t *testing.T, c *apache.Cluster) func() error {
			for p := range partitions {
				node := must[int](t)(c.Leader(t.Context(), lane, p))
				check(t, c.MoveLeader(t.Context(), lane, p, node%3+1))
			}
			return func() error { return nil }
		}},
		{"the coordinator is killed", func(t *testing.T, c *apache.Cluster) func() error {
			node := must[int](t)(c.Coordinator(t.Context(), group))
			c.Kill(node)
			return func() error { return c.Begin(t.Context(), node) }
		}},
		{"a leader stands still", func(t *testing.T, c *apache.Cluster) func() error {
			node := must[int](t)(c.Leader(t.Context(), lane, 1))
			check(t, c.Pause(node))
			return func() error { return c.Resume(node) }
		}},
	}
	for _, s := range strikes {
		mend := s.strike(t, c)
		l.everywhere(t) // the lanes go on while the broker is missing
		t.Logf("%s: partitions stood still for %v", s.name, l.gaps())
		check(t, mend())
		for p := range partitions {
			check(t, c.InSync(t.Context(), lane, p, 3))
		}
		l.mails.More(t, 200)
		l.gaps()
	}

	close(stop)
	senders.Wait()
	check(t, producer.Part().Stop(t.Context()))
	brokertest.Eventually(t, func() bool {
		lag, err := client.Lag(t.Context(), group, lane)
		return err == nil && lag[lane].Depth == 0
	})
	l.settle(t, len(strikes))
}

// settle compares what was accepted with what came.
func (l *ledger) settle(t *testing.T, strikes int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	lost, twice, again := 0, 0, 0
	for id := range l.accepted {
		if l.handed[id] == nil {
			lost++
		}
	}
	for _, places := range l.handed {
		twice += len(places) - 1 // a try whose acknowledgement was lost
		for _, times := range places {
			again += times - 1
		}
	}
	report := fmt.Sprintf("%d accepted, %d lost, %d produced twice, %d handed out again", len(l.accepted), lost, twice, again)
	t.Log(report)
	if lost > 0 || len(l.strange) > 0 || again > strikes*2*window {
		t.Errorf("%s, %d with another id than their own; want none lost, and again only what was in flight: %d for each strike", report, len(l.strange), 2*window)
	}
}
