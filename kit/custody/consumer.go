package custody

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/telemetry"
)

// Consumer reads a topic as a member of a group. Run it once.
type Consumer struct {
	cfg     Config
	client  *broker.Client
	handler Handler
	log     *slog.Logger
	meters  *meters
	window  *window

	mu      sync.Mutex
	session *session // the last one; nil before the first
}

// New makes a consumer that hands to h. It connects when it runs; a broker
// that is away then is waited for.
func New(c *broker.Client, t *telemetry.Telemetry, h Handler, cfg Config) (*Consumer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("custody configuration: %w", err)
	}
	cfg = cfg.defaulted()
	consumer := &Consumer{
		cfg: cfg, client: c, handler: h, window: newWindow(cfg.MaxRecords, cfg.MaxBytes),
		log: t.Log.With(slog.String("group", cfg.Group), slog.String("topic", cfg.Topic)),
	}
	consumer.meters = newMeters(t, consumer)
	return consumer, nil
}

// Part runs the consumer: Stop drains, commits and leaves the group.
func (c *Consumer) Part() app.Part { return app.Loop("consumer of "+c.cfg.Topic, c.Run) }

// Run consumes until ctx ends, then drains, commits and leaves the group. It
// returns nil after that; a broker that is away is no error but waited for.
func (c *Consumer) Run(ctx context.Context) error {
	var cut cutter
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: c.cfg.Group, Brokers: c.client.Bootstrap(), Dialer: cut.dialer(c.client.Dialer()),
		Topics: []string{c.cfg.Topic}, StartOffset: kafka.FirstOffset,
		HeartbeatInterval: c.cfg.Heartbeat, SessionTimeout: c.cfg.Session, RebalanceTimeout: c.cfg.Rebalance,
		JoinGroupBackoff: joinBackoff, WatchPartitionChanges: true, PartitionWatchInterval: 10 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("joining group: %w", err)
	}
	for ctx.Err() == nil {
		gen, err := group.Next(ctx)
		switch {
		case err == nil:
			c.begin(ctx, gen)
		case ctx.Err() == nil:
			c.log.WarnContext(ctx, "group could not be joined, trying again", slog.Any("error", err))
		}
	}
	c.leave(group, &cut)
	return nil
}

// joinBackoff is the pause before joining again after a failure.
const joinBackoff = 500 * time.Millisecond

func (c *Consumer) begin(ctx context.Context, gen *kafka.Generation) {
	s := newSession(ctx, c, gen)
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	gen.Start(func(ended context.Context) { s.run(context.WithoutCancel(ctx), ended, ctx) })
}

// leave waits for the last session to drain and leaves the group. Joining,
// which may block for as long as the group rebalances, is cut short.
func (c *Consumer) leave(group *kafka.ConsumerGroup, cut *cutter) {
	if s := c.current(); s != nil {
		<-s.finished
	}
	var closing sync.WaitGroup
	left := make(chan struct{})
	closing.Go(func() {
		_ = group.Close()
		close(left)
	})
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-left:
	case <-patience.C:
		cut.cut()
	}
	closing.Wait()
	cut.close()
}

func (c *Consumer) current() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Stats is how each assigned partition stands; nil while none is assigned.
func (c *Consumer) Stats() []Stats {
	s := c.current()
	if s == nil || s.life.Err() != nil {
		return nil
	}
	var all []Stats
	for _, p := range s.parts {
		if st, ok := p.stats(); ok {
			all = append(all, st)
		}
	}
	return all
}

// bounds asks where the partitions of a topic begin and end.
func (c *Consumer) bounds(ctx context.Context, topic string) (map[int]broker.Bounds, error) {
	n, err := c.client.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Session)
	defer cancel()
	return c.client.Ends(ctx, topic, n)
}

// errNoCommit is the answer of a broker that left the partition out.
var errNoCommit = errors.New("broker does not tell the commit")

// committed asks for the last commit of a partition; offset -1 when there is
// none.
func (c *Consumer) committed(ctx context.Context, partition int) (kafka.OffsetFetchPartition, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Session)
	defer cancel()
	res, err := c.client.Kafka().OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: c.cfg.Group, Topics: map[string][]int{c.cfg.Topic: {partition}},
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return kafka.OffsetFetchPartition{}, fmt.Errorf("reading last commit: %w", err)
	}
	for _, p := range res.Topics[c.cfg.Topic] {
		if p.Partition == partition {
			if p.Error != nil {
				return p, fmt.Errorf("reading last commit: %w", p.Error)
			}
			return p, nil
		}
	}
	return kafka.OffsetFetchPartition{}, errNoCommit
}
