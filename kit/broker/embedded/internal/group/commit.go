package group

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/group/machine"
	"kurir.dev/kit/broker/embedded/internal/group/offsets"
)

// Commit answers OffsetCommit, when the offsets are written.
func (c *Coordinator) Commit(ctx context.Context, r *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	var batch *offsets.Batch
	verdicts := make(map[*kmsg.OffsetCommitRequestTopicPartition]*kerr.Error)
	refused := c.admit(r, func(now time.Time) {
		var entries []offsets.Entry
		for i := range r.Topics {
			t := &r.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				e := entry(r.Group, t.Topic, p, now)
				if err := c.check(r, e); err != nil {
					verdicts[p] = err
					continue
				}
				entries = append(entries, e)
			}
		}
		if len(entries) > 0 {
			batch = c.offsets.Put(entries...)
		}
	})
	if batch != nil {
		if err := batch.Wait(); err != nil {
			c.log.WarnContext(ctx, "offsets could not be committed", slog.String("group", r.Group), slog.Any("error", err))
			refused = kerr.CoordinatorNotAvailable // which clients take for a reason to try again
		}
	}
	res := r.ResponseKind().(*kmsg.OffsetCommitResponse)
	for i := range r.Topics {
		t := &r.Topics[i]
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic = t.Topic
		for j := range t.Partitions {
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition = t.Partitions[j].Partition
			rp.ErrorCode = code(refused)
			if err := verdicts[&t.Partitions[j]]; err != nil {
				rp.ErrorCode = err.Code
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return res
}

// admit runs queue under the group's lock if the group takes the commit, or
// says why it does not.
func (c *Coordinator) admit(r *kmsg.OffsetCommitRequest, queue func(now time.Time)) *kerr.Error {
	if len(r.Group) > offsets.MaxName {
		return kerr.InvalidGroupID
	}
	err := c.absent()
	outside := r.Generation < 0 // of any generation: from no member
	c.visit(r.Group, outside, func(g *cell, now time.Time) []machine.Reply {
		if err = g.machine.Commit(now, r.MemberID, r.Generation); err == nil {
			queue(now)
		}
		return nil
	})
	return err
}

// check says why a commit must be refused that the group would take.
func (c *Coordinator) check(r *kmsg.OffsetCommitRequest, e offsets.Entry) *kerr.Error {
	switch {
	case len(e.Metadata) > offsets.MaxMetadata:
		return kerr.OffsetMetadataTooLarge
	case e.Topic == "" || len(e.Topic) > offsets.MaxName || e.Partition < 0 || !c.cfg.Exists(e.Topic, e.Partition):
		return kerr.UnknownTopicOrPartition
	case r.Generation >= 0:
		return nil
	}
	if _, known := c.offsets.Get(e.Key); !known && c.cfg.Writable() != nil {
		return kerr.CoordinatorNotAvailable
	}
	return nil
}

func entry(group, topic string, p *kmsg.OffsetCommitRequestTopicPartition, now time.Time) offsets.Entry {
	return offsets.Entry{
		Key: offsets.Key{Group: group, Topic: topic, Partition: p.Partition},
		Commit: offsets.Commit{
			Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: text(p.Metadata), At: now.UnixMilli(),
		},
	}
}

// Committed is how far each group has come on a partition: group to offset.
func (c *Coordinator) Committed(topic string, partition int32) map[string]int64 {
	return c.offsets.Committed(topic, partition)
}

// Forget drops what was committed for a topic that was deleted.
func (c *Coordinator) Forget(topic string) {
	if err := c.offsets.DropTopic(topic).Wait(); err != nil {
		c.log.Warn("offsets of a deleted topic could not be dropped", slog.String("topic", topic), slog.Any("error", err))
	}
}
