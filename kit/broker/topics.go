package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/backoff"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/topic"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// MaxBatchBytes is the largest batch of records that topics take.
const MaxBatchBytes = 4 << 20

// partitions remembers how many partitions topics have.
type partitions struct {
	mu sync.Mutex
	n  map[string]int
}

func (p *partitions) get(name string) (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, ok := p.n[name]
	return n, ok
}

func (p *partitions) set(name string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == nil {
		p.n = make(map[string]int)
	}
	p.n[name] = n
}

func (p *partitions) forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.n, name)
}

// Refresh makes the client learn the cluster's layout anew, after an answer
// that it is out of date. The layout is cached; the one request after which
// the transport always renews it is a creation of topics, here of none.
func (c *Client) Refresh(ctx context.Context) error {
	_, err := c.kafka.CreateTopics(ctx, &kafka.CreateTopicsRequest{ValidateOnly: true})
	return err
}

// Partitions is how many partitions the topic has, asked once and remembered.
// A topic that does not exist is fault.Unavailable: it may be created any
// moment.
func (c *Client) Partitions(ctx context.Context, name string) (int, error) {
	if n, ok := c.parts.get(name); ok {
		return n, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	counts, err := c.counts(ctx)
	if err != nil {
		return 0, err
	}
	for each, n := range counts {
		c.parts.set(each, n)
	}
	n, ok := counts[name]
	if !ok {
		return 0, unavailable(fmt.Sprintf("topic %q does not exist yet", name), nil)
	}
	return n, nil
}

// counts asks for the partition counts of all topics.
func (c *Client) counts(ctx context.Context) (map[string]int, error) {
	if err := c.Refresh(ctx); err != nil {
		// Of a broker that is away the transport says only that; a ping, why.
		if why := c.Ping(ctx); why != nil {
			return nil, why
		}
		return nil, unavailable("broker does not answer", err)
	}
	md, err := c.kafka.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, unavailable("broker does not answer", err)
	}
	counts := make(map[string]int, len(md.Topics))
	for _, t := range md.Topics {
		if t.Error == nil && len(t.Partitions) > 0 {
			counts[t.Name] = len(t.Partitions)
		}
	}
	return counts, nil
}

// TopicNames lists the cluster's topics, in no order. Failure is
// fault.Unavailable.
func (c *Client) TopicNames(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	counts, err := c.counts(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(counts)), nil
}

// EnsureTopics creates what is missing of the installation's topics and
// checks that each lane has as many partitions as its outcome topic, without
// which an outcome could not lie beside its mail: fault.Precondition. Of the
// topics that exist only those are changed that have fewer partitions than
// there are bands. Safe to run from any number of processes at once.
func (c *Client) EnsureTopics(ctx context.Context, lanes []string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	have, err := c.counts(ctx)
	if err != nil {
		return err
	}
	var missing []kafka.TopicConfig
	for _, name := range c.names.All(lanes) {
		if have[name] == 0 {
			missing = append(missing, c.topicConfig(name, have, lanes))
		}
	}
	if len(missing) > 0 {
		if err := c.create(ctx, missing); err != nil {
			return err
		}
		if have, err = c.counts(ctx); err != nil {
			return err
		}
	}
	if have, err = c.widen(ctx, have, lanes); err != nil {
		return err
	}
	for _, l := range lanes {
		lane, outcome := c.names.Lane(l), c.names.Outcome(l)
		if have[lane] != have[outcome] {
			return fault.Newf(fault.Precondition, faultv1.Reason_REASON_NOT_READY,
				"topics %q and %q must have equally many partitions, they have %d and %d",
				lane, outcome, have[lane], have[outcome])
		}
	}
	for name, n := range have {
		c.parts.set(name, n)
	}
	return nil
}

// widen gives lanes and their outcome topics that have one partition the second
// band, and returns how many all have then. The first is the ordinary band of
// two, so every record stays where its key is looked for. The outcome topic
// comes first: whoever reads the lane's new partition finds its journal.
func (c *Client) widen(ctx context.Context, have map[string]int, lanes []string) (map[string]int, error) {
	for try := 1; ; try++ {
		wide := true
		for _, of := range []func(string) string{c.names.Outcome, c.names.Lane} {
			var narrow []kafka.TopicPartitionsConfig
			for _, l := range lanes {
				if have[of(l)] == 1 && max(have[c.names.Lane(l)], have[c.names.Outcome(l)]) <= topic.Bands {
					narrow = append(narrow, kafka.TopicPartitionsConfig{Name: of(l), Count: topic.Bands})
				}
			}
			if err := c.extend(ctx, narrow); err != nil {
				return nil, err
			}
			wide = wide && len(narrow) == 0
		}
		if wide {
			return have, nil
		}
		if try > 1 && (backoff.Policy{Base: pauseMost}).Wait(ctx, try) != nil {
			return nil, unavailable("new partitions do not appear", nil)
		}
		var err error
		if have, err = c.counts(ctx); err != nil {
			return nil, err
		}
	}
}

// extend gives topics more partitions, but those that have them by now.
func (c *Client) extend(ctx context.Context, topics []kafka.TopicPartitionsConfig) error {
	if len(topics) == 0 {
		return nil
	}
	res, err := c.kafka.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: topics})
	if err != nil {
		return unavailable("partitions could not be added", err)
	}
	var errs []error
	for name, err := range res.Errors {
		if err != nil && !errors.Is(err, kafka.InvalidPartitionNumber) {
			errs = append(errs, fmt.Errorf("adding a partition to topic %q: %w", name, err))
		}
	}
	if len(errs) > 0 {
		return unavailable("partitions could not be added", errors.Join(errs...))
	}
	return nil
}

// topicConfig is how a topic is created. What is unfinished must not age away:
// the embedded broker, whose log is trimmed by what is finished, retains
// everything else; a cluster retains for longer than any mail is of use.
// Segments are small, for disk is freed, and the embedded broker started,
// segment by segment. A lane has a partition for each band at least; one whose
// outcome topic exists, or the reverse, takes its partition count.
func (c *Client) topicConfig(name string, have map[string]int, lanes []string) kafka.TopicConfig {
	n := c.cfg.Partitions
	for _, l := range lanes {
		lane, outcome := c.names.Lane(l), c.names.Outcome(l)
		switch name {
		case lane:
			n = max(topic.Bands, cmp.Or(have[outcome], n))
		case outcome:
			n = max(topic.Bands, cmp.Or(have[lane], n))
		}
	}
	if name == c.names.Control() {
		n = 1 // read whole and in order at every start
	}
	retention := int64(-1)
	if c.cfg.socket() == "" && c.cfg.Retention > 0 && name != c.names.Control() {
		retention = c.cfg.Retention.Milliseconds()
	}
	return kafka.TopicConfig{
		Topic: name, NumPartitions: n, ReplicationFactor: c.cfg.Replication,
		ConfigEntries: []kafka.ConfigEntry{
			{ConfigName: "cleanup.policy", ConfigValue: "delete"},
			{ConfigName: "retention.ms", ConfigValue: strconv.FormatInt(retention, 10)},
			{ConfigName: "retention.bytes", ConfigValue: "-1"},
			{ConfigName: "segment.bytes", ConfigValue: "16777216"},
			{ConfigName: "min.insync.replicas", ConfigValue: strconv.Itoa(c.cfg.insync())},
			{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(MaxBatchBytes)},
		},
	}
}

func (c *Client) create(ctx context.Context, topics []kafka.TopicConfig) error {
	res, err := c.kafka.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: topics})
	if err != nil {
		return unavailable("topics could not be created", err)
	}
	var errs []error
	for name, err := range res.Errors {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			errs = append(errs, fmt.Errorf("creating topic %q: %w", name, err))
		}
	}
	if len(errs) > 0 {
		return unavailable("topics could not be created", errors.Join(errs...))
	}
	return nil
}
