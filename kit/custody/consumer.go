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

	complaints complaints

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
	m := &member{Consumer: c}
	for {
		gen, ok := m.next(ctx)
		if !ok {
			break
		}
		for c.begin(ctx, gen) {
		}
	}
	m.leave(context.WithoutCancel(ctx))
	return nil
}

// begin works on what a generation dealt until the lease on it ends. True when
// the generation may still be ours then: a lease that ran out while nobody
// answered may be had again, and then nobody else had the partitions.
func (c *Consumer) begin(ctx context.Context, gen *generation) (again bool) {
	s := newSession(ctx, c, gen)
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	return s.run(context.WithoutCancel(ctx), ctx)
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

// bounds asks where a partition of a topic begins and ends.
func (c *Consumer) bounds(ctx context.Context, topic string, partition int) (broker.Bounds, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	return c.client.Bounds(ctx, topic, partition)
}

// askPatience bounds a question that is asked again when it goes unanswered:
// another node may know by then.
const askPatience = 3 * time.Second

// errNoCommit is the answer of a broker that left the partition out.
var errNoCommit = errors.New("broker does not tell the commit")

// committed asks for the last commit of a partition; offset -1 when there is
// none.
func (c *Consumer) committed(ctx context.Context, partition int) (kafka.OffsetFetchPartition, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
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
