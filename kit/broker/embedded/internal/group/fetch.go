package group

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/group/offsets"
)

// Fetch answers OffsetFetch. A partition without a commit has offset -1, and
// so has one of a group that is not known.
func (c *Coordinator) Fetch(r *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	res := r.ResponseKind().(*kmsg.OffsetFetchResponse)
	if r.Version < 8 {
		var topics []kmsg.OffsetFetchRequestGroupTopic
		for _, t := range r.Topics {
			topics = append(topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
		}
		for _, t := range c.fetch(r.Group, topics, r.Topics == nil) {
			old := kmsg.NewOffsetFetchResponseTopic()
			old.Topic = t.Topic
			for _, p := range t.Partitions {
				old.Partitions = append(old.Partitions, kmsg.OffsetFetchResponseTopicPartition(p))
			}
			res.Topics = append(res.Topics, old)
		}
		return res
	}
	for _, g := range r.Groups {
		rg := kmsg.NewOffsetFetchResponseGroup()
		rg.Group, rg.Topics = g.Group, c.fetch(g.Group, g.Topics, g.Topics == nil)
		res.Groups = append(res.Groups, rg)
	}
	return res
}

// fetch looks up what was asked for, or everything.
func (c *Coordinator) fetch(group string, topics []kmsg.OffsetFetchRequestGroupTopic, all bool) []kmsg.OffsetFetchResponseGroupTopic {
	if all {
		topics = c.committed(group)
	}
	var found []kmsg.OffsetFetchResponseGroupTopic
	for _, t := range topics {
		rt := kmsg.NewOffsetFetchResponseGroupTopic()
		rt.Topic = t.Topic
		for _, id := range t.Partitions {
			rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = id, -1, -1, new(string)
			if at, ok := c.offsets.Get(offsets.Key{Group: group, Topic: t.Topic, Partition: id}); ok {
				rp.Offset, rp.LeaderEpoch, rp.Metadata = at.Offset, at.LeaderEpoch, &at.Metadata
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		found = append(found, rt)
	}
	return found
}

// committed lists the partitions that the group has committed, in order.
func (c *Coordinator) committed(group string) []kmsg.OffsetFetchRequestGroupTopic {
	entries := c.offsets.Of(group)
	slices.SortFunc(entries, func(a, b offsets.Entry) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	var topics []kmsg.OffsetFetchRequestGroupTopic
	for _, e := range entries {
		if n := len(topics); n == 0 || topics[n-1].Topic != e.Topic {
			topics = append(topics, kmsg.OffsetFetchRequestGroupTopic{Topic: e.Topic})
		}
		last := &topics[len(topics)-1]
		last.Partitions = append(last.Partitions, e.Partition)
	}
	return topics
}
