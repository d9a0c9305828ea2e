package group

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/group/machine"
	"kurir.dev/kit/broker/embedded/internal/group/offsets"
)

// consumerType is the protocol type of groups that consume topics.
const consumerType = "consumer"

// Describe answers DescribeGroups. A group that is not known is Dead, one that
// lives in its offsets alone Empty.
func (c *Coordinator) Describe(r *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	res := r.ResponseKind().(*kmsg.DescribeGroupsResponse)
	for _, name := range r.Groups {
		d := kmsg.NewDescribeGroupsResponseGroup()
		d.Group = name
		v := c.view(name)
		d.State, d.ProtocolType, d.Protocol = v.State.String(), v.ProtocolType, v.Protocol
		for _, m := range v.Members {
			rm := kmsg.NewDescribeGroupsResponseGroupMember()
			rm.MemberID, rm.ClientID, rm.ClientHost = m.ID, m.ClientID, m.Host
			rm.ProtocolMetadata, rm.MemberAssignment = m.Metadata, m.Assignment
			d.Members = append(d.Members, rm)
		}
		res.Groups = append(res.Groups, d)
	}
	return res
}

// view describes a group, whether or not it has members.
func (c *Coordinator) view(name string) machine.View {
	v := machine.View{State: machine.Dead}
	if c.offsets.Has(name) {
		v.State = machine.Empty
	}
	c.visit(name, false, func(g *cell, _ time.Time) []machine.Reply {
		v = g.machine.View()
		return nil
	})
	return v
}

// List answers ListGroups.
func (c *Coordinator) List(r *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	names := c.offsets.Groups()
	for _, g := range c.all() {
		names = append(names, g.name)
	}
	slices.Sort(names)
	res := r.ResponseKind().(*kmsg.ListGroupsResponse)
	for _, name := range slices.Compact(names) {
		v := c.view(name)
		state := v.State.String()
		if v.State == machine.Dead || len(r.StatesFilter) > 0 && !slices.Contains(r.StatesFilter, state) {
			continue
		}
		rg := kmsg.NewListGroupsResponseGroup()
		rg.Group, rg.ProtocolType, rg.GroupState = name, v.ProtocolType, state
		res.Groups = append(res.Groups, rg)
	}
	return res
}

// Delete answers DeleteGroups: a group without members forgets its offsets.
func (c *Coordinator) Delete(ctx context.Context, r *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	res := r.ResponseKind().(*kmsg.DeleteGroupsResponse)
	for _, name := range r.Groups {
		rg := kmsg.NewDeleteGroupsResponseGroup()
		rg.Group, rg.ErrorCode = name, code(c.remove(ctx, name))
		res.Groups = append(res.Groups, rg)
	}
	return res
}

func (c *Coordinator) remove(ctx context.Context, name string) *kerr.Error {
	if len(name) > offsets.MaxName {
		return kerr.InvalidGroupID
	}
	err := kerr.CoordinatorNotAvailable
	var batch *offsets.Batch
	c.visit(name, true, func(g *cell, _ time.Time) []machine.Reply {
		known := c.offsets.Has(name) || !g.machine.Idle()
		if err = g.machine.End(); err != nil {
			return nil
		}
		if !known {
			err = kerr.GroupIDNotFound
			return nil
		}
		batch = c.offsets.DropGroup(name)
		return nil
	})
	return c.written(ctx, name, batch, err)
}

// OffsetDelete answers OffsetDelete: a group takes back its commits of topics
// that none of its members reads.
func (c *Coordinator) OffsetDelete(ctx context.Context, r *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	res := r.ResponseKind().(*kmsg.OffsetDeleteResponse)
	var batch *offsets.Batch
	err := kerr.CoordinatorNotAvailable
	if !c.offsets.Has(r.Group) && c.view(r.Group).State == machine.Dead {
		res.ErrorCode = kerr.GroupIDNotFound.Code
		return res
	}
	read := make(map[string]bool)
	c.visit(r.Group, true, func(g *cell, _ time.Time) []machine.Reply {
		err = nil
		if v := g.machine.View(); len(v.Members) > 0 && v.ProtocolType != consumerType {
			err = kerr.NonEmptyGroup
			return nil
		}
		for _, topic := range subscribed(g.machine.Metadata()) {
			read[topic] = true
		}
		var keys []offsets.Key
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				if !read[t.Topic] {
					keys = append(keys, offsets.Key{Group: r.Group, Topic: t.Topic, Partition: p.Partition})
				}
			}
		}
		if len(keys) > 0 {
			batch = c.offsets.Drop(keys...)
		}
		return nil
	})
	if err = c.written(ctx, r.Group, batch, err); err != nil {
		res.ErrorCode = err.Code
		return res
	}
	for _, t := range r.Topics {
		rt := kmsg.NewOffsetDeleteResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetDeleteResponseTopicPartition()
			rp.Partition = p.Partition
			if read[t.Topic] {
				rp.ErrorCode = kerr.GroupSubscribedToTopic.Code
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return res
}

// written waits for what was queued, if anything was; err is what is known
// before.
func (c *Coordinator) written(ctx context.Context, group string, b *offsets.Batch, err *kerr.Error) *kerr.Error {
	if err != nil || b == nil {
		return err
	}
	if failed := b.Wait(); failed != nil {
		c.log.WarnContext(ctx, "offsets could not be dropped", slog.String("group", group), slog.Any("error", failed))
		return kerr.CoordinatorNotAvailable
	}
	return nil
}

// subscribed are the topics that consumers say they read.
func subscribed(metadata [][]byte) []string {
	var topics []string
	for _, b := range metadata {
		m := kmsg.NewConsumerMemberMetadata()
		if m.ReadFrom(b) == nil {
			topics = append(topics, m.Topics...)
		}
	}
	return topics
}
