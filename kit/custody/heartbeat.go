package custody

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
)

// pulse is a heartbeat that goes to the group's coordinator: kafka-go sends
// its own to any broker, which says nothing of the group.
type pulse heartbeat.Request

// ApiKey implements protocol.Message.
func (*pulse) ApiKey() protocol.ApiKey { return protocol.Heartbeat }

// Group implements protocol.GroupMessage.
func (p *pulse) Group() string { return p.GroupID }

var _ protocol.GroupMessage = (*pulse)(nil)

// heartbeat tells the coordinator that we are there; the error is what it says
// to that, or that it says nothing.
func (c *Consumer) heartbeat(ctx context.Context, gen *generation) error {
	client := c.client.Kafka()
	res, err := client.Transport.RoundTrip(ctx, client.Addr, &pulse{GroupID: c.cfg.Group, GenerationID: gen.id, MemberID: gen.member})
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	answer, ok := res.(*heartbeat.Response)
	if !ok {
		return fmt.Errorf("heartbeat: answered by %T", res)
	}
	if code := verdict(answer); code != 0 {
		return kafka.Error(code)
	}
	return nil
}

// verdict is the error code of a heartbeat's answer. Since version 1 the
// throttle time comes before the code; kafka-go reads them the other way
// round, so that the code lies in the lower half of its throttle time.
func verdict(r *heartbeat.Response) int16 {
	if r.ErrorCode != 0 {
		return r.ErrorCode
	}
	return int16(r.ThrottleTimeMs & 0xffff)
}
