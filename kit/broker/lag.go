package broker

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
)

// TopicLag is how far a group is behind on one topic.
type TopicLag struct {
	// Depth is how many records are not done: not read yet, or handed out.
	Depth int64
	// Oldest is when the oldest of them was produced; zero when there is none
	// or the broker did not say.
	Oldest time.Time
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
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i
	}
	res, err := c.kafka.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: ids}})
	if err == nil {
		err = res.Error
	}
	committed := make(map[int]int64, n)
	switch {
	case errors.Is(err, kafka.GroupIdNotFound): // nobody has consumed yet: nothing is done
	case err != nil:
		return TopicLag{}, err
	default:
		for _, p := range res.Topics[topic] {
			if p.Error == nil {
				committed[p.Partition] = p.CommittedOffset
			}
		}
	}
	var lag TopicLag
	for p, end := range ends {
		lag.Depth += max(0, end.Last-max(end.First, committed[p]))
	}
	return lag, nil
}

// Bounds are the first offset of a partition and the one after its last.
type Bounds struct{ First, Last int64 }

// Ends asks for the bounds of the first n partitions of a topic.
func (c *Client) Ends(ctx context.Context, topic string, n int) (map[int]Bounds, error) {
	reqs := make([]kafka.OffsetRequest, 0, 2*n)
	for p := range n {
		reqs = append(reqs, kafka.FirstOffsetOf(p), kafka.LastOffsetOf(p))
	}
	res, err := c.kafka.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: reqs}})
	if err != nil {
		return nil, err
	}
	ends := make(map[int]Bounds, n)
	for _, o := range res.Topics[topic] {
		if o.Error != nil {
			return nil, o.Error
		}
		ends[o.Partition] = Bounds{First: o.FirstOffset, Last: o.LastOffset}
	}
	return ends, nil
}
