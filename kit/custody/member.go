package custody

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// member is the consumer's place in its group. The coordinator knows it by an
// id that outlives generations and coordinators.
type member struct {
	*Consumer
	id string // empty before the coordinator gave one
}

// generation is one deal of the partitions among the group's members.
type generation struct {
	id         int32
	member     string
	partitions []int // dealt to us
	leader     bool  // we dealt
	total      int   // partitions there were, as far as we had heard
}

const (
	// joinPause is the pause before joining again after a failure.
	joinPause = 200 * time.Millisecond
	// watchPartitions is how often the leader looks whether there are more.
	watchPartitions = 10 * time.Second
	// protocolType is that of consumers, dealing how they agree to deal: in
	// turn, so that who has partitions of one band has as many of the other.
	protocolType, dealing = "consumer", "roundrobin"
)

// errDeal is the error of a deal that was not learned: joining again tells why.
var errDeal = errors.New("deal could not be learned")

// next joins the group, again and again until it is in or ctx ends.
func (m *member) next(ctx context.Context) (*generation, bool) {
	for began := time.Now(); ctx.Err() == nil; {
		gen, err := m.join(ctx)
		switch {
		case err == nil:
			return gen, true
		case ctx.Err() != nil:
			return nil, false
		case errors.Is(err, kafka.MemberIDRequired): // KIP-394: with the id it gave
			continue
		case errors.Is(err, kafka.UnknownMemberId), errors.Is(err, kafka.FencedInstanceID):
			m.id = ""
			continue
		case errors.Is(err, errDeal): // another is under way, as a rule
		case settling(err, began):
		case m.complaints.due("join"):
			m.log.WarnContext(ctx, "group could not be joined, trying again", slog.Any("error", err))
		}
		pause(ctx, joinPause)
	}
	return nil, false
}

// join takes part in one deal. The id stays what it is whatever fails: a
// coordinator that took over knows it too, and need not wait for a member that
// is gone.
func (m *member) join(ctx context.Context) (*generation, error) {
	if _, err := m.client.Partitions(ctx, m.cfg.Topic); err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, m.cfg.Rebalance+m.cfg.Session)
	defer cancel()
	defer follow(asking, cancel, m.coordinator)()
	res, err := m.client.Kafka().JoinGroup(asking, &kafka.JoinGroupRequest{
		GroupID: m.cfg.Group, MemberID: m.id, SessionTimeout: m.cfg.Session, RebalanceTimeout: m.cfg.Rebalance,
		ProtocolType: protocolType, Protocols: []kafka.GroupProtocol{{
			Name: dealing, Metadata: kafka.GroupProtocolSubscription{Topics: []string{m.cfg.Topic}},
		}},
	})
	if err == nil {
		err = res.Error
	}
	if res != nil && res.MemberID != "" {
		m.id = res.MemberID
	}
	if err != nil {
		return nil, fmt.Errorf("joining: %w", err)
	}
	gen := &generation{id: int32(res.GenerationID), member: m.id, leader: res.LeaderID == m.id}
	deal, err := m.deal(asking, gen, res.Members)
	if err != nil {
		return nil, err
	}
	dealt, err := m.client.Kafka().SyncGroup(asking, &kafka.SyncGroupRequest{
		GroupID: m.cfg.Group, MemberID: m.id, GenerationID: res.GenerationID,
		ProtocolType: protocolType, ProtocolName: dealing, Assignments: deal,
	})
	if err == nil {
		err = dealt.Error
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDeal, err)
	}
	gen.partitions = dealt.Assignment.AssignedPartitions[m.cfg.Topic]
	if len(gen.partitions) > 0 && slices.Max(gen.partitions) >= gen.total { // the leader has heard of more than we have
		return nil, errors.Join(errDeal, m.client.Refresh(asking))
	}
	return gen, nil
}

// deal deals the partitions to the members, if that is ours to do.
func (m *member) deal(ctx context.Context, gen *generation, members []kafka.JoinGroupResponseMember) ([]kafka.SyncGroupRequestAssignment, error) {
	var err error
	if gen.total, err = m.partitions(ctx); err != nil || !gen.leader {
		return nil, err
	}
	parts := make([]kafka.Partition, gen.total)
	for id := range parts {
		parts[id] = kafka.Partition{Topic: m.cfg.Topic, ID: id}
	}
	group := make([]kafka.GroupMember, len(members))
	for i, other := range members {
		group[i] = kafka.GroupMember{ID: other.ID, Topics: other.Metadata.Topics}
	}
	dealt := kafka.RoundRobinGroupBalancer{}.AssignGroups(group, parts)
	deal := make([]kafka.SyncGroupRequestAssignment, len(members))
	for i, other := range members {
		deal[i] = kafka.SyncGroupRequestAssignment{
			MemberID: other.ID, Assignment: kafka.GroupProtocolAssignment{AssignedPartitions: dealt[other.ID]},
		}
	}
	return deal, nil
}

// partitions is how many partitions the topic has now.
func (c *Consumer) partitions(ctx context.Context) (int, error) {
	md, err := c.client.Kafka().Metadata(ctx, &kafka.MetadataRequest{Topics: []string{c.cfg.Topic}})
	if err != nil {
		return 0, fmt.Errorf("counting partitions: %w", err)
	}
	for _, t := range md.Topics {
		if t.Name == c.cfg.Topic {
			return len(t.Partitions), t.Error
		}
	}
	return 0, kafka.UnknownTopicOrPartition
}

// leave leaves the group, so that the others need not wait for us.
func (m *member) leave(ctx context.Context) {
	if m.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Session/3)
	defer cancel()
	res, err := m.client.Kafka().LeaveGroup(ctx, &kafka.LeaveGroupRequest{
		GroupID: m.cfg.Group, Members: []kafka.LeaveGroupRequestMember{{ID: m.id}},
	})
	if err == nil {
		err = res.Error
	}
	if err != nil { // the session ends by itself
		m.log.WarnContext(ctx, "group could not be left", slog.Any("error", err))
	}
}

// coordinator is the node that coordinates the group; negative while nobody
// knows.
func (c *Consumer) coordinator(ctx context.Context) int {
	res, err := c.client.Kafka().FindCoordinator(ctx, &kafka.FindCoordinatorRequest{
		Key: c.cfg.Group, KeyType: kafka.CoordinatorKeyTypeConsumer,
	})
	if err != nil || res.Error != nil || res.Coordinator == nil {
		return -1
	}
	return res.Coordinator.NodeID
}
