package custody

import (
	"context"
	"fmt"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/telemetry"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// Consumer reads a topic as a member of a group.
type Consumer struct {
	cfg     Config
	client  *broker.Client
	handler Handler
}

// New makes a consumer. It connects in Run.
func New(c *broker.Client, t *telemetry.Telemetry, h Handler, cfg Config) (*Consumer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("custody configuration: %w", err)
	}
	return &Consumer{cfg: cfg.defaulted(), client: c, handler: h}, nil
}

// Run consumes until ctx ends, then drains, commits and leaves the group.
func (c *Consumer) Run(ctx context.Context) error {
	return fault.Newf(fault.Unimplemented, faultv1.Reason_REASON_NOT_IMPLEMENTED, "consumer is not built yet")
}

// Part runs the consumer.
func (c *Consumer) Part() app.Part { return app.Loop("consumer "+c.cfg.Topic, c.Run) }

// Stats is how each assigned partition stands.
func (c *Consumer) Stats() []Stats { return nil }
