package broker

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/backoff"
	"kurir.dev/kit/custody/mark"
)

// TopicLag is how far a group is behind on one topic.
type TopicLag struct {
	// Depth is how many records are not done: not read yet, or handed out.
	Depth int64
	// Oldest is when the oldest of them was produced; zero when there is none
	// or the broker did not say.
	Oldest time.Time
	// InFlight is how many of them were handed out, as of the last commits.
	InFlight int64
	// Put is how many records were ever put onto the topic, Done how many of
	// them are done. Two looks give the rates between them.
	Put, Done int64
}

// Lag is how far the group is behind on each of the topics. A topic that does
// not exist is left out. Failure is fault.Unavailable.
func (c *Client) Lag(ctx context.Context, group string, topics ...string) (map[string]TopicLag, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lags := make(map[string]TopicLag, len(topics))
	for _, t := range topics {
		n, err := c.Partitions(ctx, t)
		if err != nil {
			continue
		}
		lag, err := c.topicLag(ctx, group, t, n)
		if err != nil {
			return nil, unavailable("broker does not answer", err)
		}
		lags[t] = lag
	}
	return lags, nil
}

func (c *Client) topicLag(ctx context.Context, group, topic string, n int) (TopicLag, error) {
	ends, err := c.Ends(ctx, topic, n)
	if err != nil {
		return TopicLag{}, err
	}
	commits, err := c.commits(ctx, group, topic, n)
	if err != nil {
		return TopicLag{}, err
	}
	var lag TopicLag
	for id, end := range ends {
		m := commits[id] // the zero mark when nothing was committed
		low := max(end.First, m.Low)
		depth := end.Last - low - m.Count()
		lag.Put += end.Last
		lag.Done += min(low+m.Count(), end.Last)
		lag.InFlight += m.InFlight(end.Last)
		if depth <= 0 {
			continue
		}
		lag.Depth += depth
		if at := c.timeOf(ctx, topic, id, low); !at.IsZero() && (lag.Oldest.IsZero() || at.Before(lag.Oldest)) {
			lag.Oldest = at
		}
	}
	return lag, nil
}

// Commits are the marks that the group has committed of a topic, by partition;
// partitions of which nothing was are left out. A commit of another program is
// a mark with its watermark alone. Failure is fault.Unavailable.
func (c *Client) Commits(ctx context.Context, group, topic string) (map[int]mark.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	commits, err := c.commits(ctx, group, topic, n)
	if err != nil {
		return nil, unavailable("broker does not answer", err)
	}
	return commits, nil
}

func (c *Client) commits(ctx context.Context, group, topic string, n int) (map[int]mark.Mark, error) {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i
	}
	commits := make(map[int]mark.Mark, n)
	res, err := c.offsets(ctx, group, topic, ids)
	switch {
	case errors.Is(err, kafka.GroupIdNotFound): // nobody has consumed yet: nothing is done
		return commits, nil
	case err != nil:
		return nil, err
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil || p.CommittedOffset < 0 {
			continue
		}
		m, err := mark.Parse(p.CommittedOffset, p.Metadata)
		if err != nil { // another program's: the watermark is all there is
			m = mark.Mark{Low: p.CommittedOffset}
		}
		commits[p.Partition] = m
	}
	return commits, nil
}

// offsets asks for a group's commits, until its coordinator is found: that
// moves, and does not exist before the first group does.
func (c *Client) offsets(ctx context.Context, group, topic string, ids []int) (*kafka.OffsetFetchResponse, error) {
	for try := 1; ; try++ {
		res, err := c.kafka.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: ids}})
		if err == nil {
			err = res.Error
		}
		if !astray(err) || (backoff.Policy{Base: pauseMost}).Wait(ctx, try) != nil {
			return res, err
		}
	}
}

// astray says that a request did not reach the group's coordinator. kafka-go
// does not read that it was not found, asks any broker instead, and is told
// so there.
func astray(err error) bool {
	return errors.Is(err, kafka.NotCoordinatorForGroup) || errors.Is(err, kafka.GroupCoordinatorNotAvailable) ||
		errors.Is(err, kafka.GroupLoadInProgress) || errors.Is(err, kafka.BrokerNotAvailable)
}

// produced is when the record at an offset was produced.
type produced struct {
	offset int64
	at     time.Time
}

// timeOf is when the record at offset was produced, zero when it cannot be
// had. A fetch brings a whole batch: who asks for the same record again does not
// cause another.
func (c *Client) timeOf(ctx context.Context, topic string, partition int, offset int64) time.Time {
	key := line{topic, partition}
	if known, ok := c.oldest.Load(key); ok {
		if p, ok := known.(produced); ok && p.offset == offset {
			return p.at
		}
	}
	at := c.fetchTime(ctx, topic, partition, offset)
	if !at.IsZero() {
		c.oldest.Store(key, produced{offset: offset, at: at})
	}
	return at
}

func (c *Client) fetchTime(ctx context.Context, topic string, partition int, offset int64) time.Time {
	res, err := c.kafka.Fetch(ctx, &kafka.FetchRequest{
		Topic: topic, Partition: partition, Offset: offset, MinBytes: 1, MaxBytes: 1, MaxWait: 100 * time.Millisecond,
	})
	if err != nil || res.Error != nil {
		return time.Time{}
	}
	for {
		r, err := res.Records.ReadRecord()
		if err != nil {
			return time.Time{}
		}
		if r.Offset >= offset {
			return r.Time
		}
	}
}

// Bounds are the first offset of a partition and the one after its last.
type Bounds struct{ First, Last int64 }

// Ends asks for the bounds of the first n partitions of a topic, anew as long
// as their leaders are not found where they are thought to be.
func (c *Client) Ends(ctx context.Context, topic string, n int) (map[int]Bounds, error) {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i
	}
	return c.bounds(ctx, topic, ids)
}

// Bounds asks for the bounds of one partition, as [Client.Ends] does.
func (c *Client) Bounds(ctx context.Context, topic string, partition int) (Bounds, error) {
	all, err := c.bounds(ctx, topic, []int{partition})
	if err != nil {
		return Bounds{}, err
	}
	b, ok := all[partition]
	if !ok {
		return Bounds{}, unavailable("broker does not tell where the partition ends", nil)
	}
	return b, nil
}

func (c *Client) bounds(ctx context.Context, topic string, ids []int) (map[int]Bounds, error) {
	for try := 1; ; try++ {
		ends, err := c.ends(ctx, topic, ids)
		if !moved(err) {
			return ends, err
		}
		_ = c.Refresh(ctx) // the next try tells
		if (backoff.Policy{Base: pauseMost}).Wait(ctx, try) != nil {
			return nil, err
		}
	}
}

func (c *Client) ends(ctx context.Context, topic string, ids []int) (map[int]Bounds, error) {
	reqs := make([]kafka.OffsetRequest, 0, 2*len(ids))
	for _, p := range ids {
		reqs = append(reqs, kafka.FirstOffsetOf(p), kafka.LastOffsetOf(p))
	}
	res, err := c.kafka.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: reqs}})
	if err != nil {
		return nil, err
	}
	ends := make(map[int]Bounds, len(ids))
	for _, o := range res.Topics[topic] {
		if o.Error != nil {
			return nil, o.Error
		}
		ends[o.Partition] = Bounds{First: o.FirstOffset, Last: o.LastOffset}
	}
	return ends, nil
}

// moved says that a request went by an old layout of the cluster.
func moved(err error) bool {
	return errors.Is(err, kafka.NotLeaderForPartition) || errors.Is(err, kafka.LeaderNotAvailable) ||
		errors.Is(err, kafka.UnknownTopicOrPartition)
}
