package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/topic"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

// Told is one telling of an event, as it lies in its topic.
type Told struct {
	Event *eventsv1.Event
	// Written is when its producer made the record.
	Written time.Time
}

// tap reads the outcome topics, the events topic and the dead topic whole,
// while the storm goes on: finished records are trimmed. Safe for concurrent
// use.
type tap struct {
	client *broker.Client
	codec  *record.Codec
	work   sync.WaitGroup

	mu     sync.Mutex
	told   map[string][]Told // by mail id
	ids    map[string]map[string]bool
	faults []string
	ends   map[string]int64 // next offset, by topic and partition
}

// newTap makes a tap on the broker.
func newTap(cfg broker.Config, keyring string) (*tap, error) {
	keys, err := seal.Load(keyring)
	if err != nil {
		return nil, err
	}
	client, err := broker.Dial(cfg, telemetry.Discard())
	if err != nil {
		return nil, err
	}
	return &tap{
		client: client, codec: record.NewCodec(keys, client.Topics()), told: map[string][]Told{},
		ids: map[string]map[string]bool{}, ends: map[string]int64{},
	}, nil
}

// start reads until ctx ends; wait returns when it has stopped. The topics have
// so many partitions, those of lanes one of each band at least.
func (p *tap) start(ctx context.Context, lanes []string, partitions int) {
	names := p.client.Topics()
	all := map[string]int{names.Events(): partitions, names.Dead(): partitions}
	for _, lane := range lanes {
		all[names.Outcome(lane)] = max(partitions, topic.Bands)
	}
	for name, n := range all {
		for partition := range n {
			p.work.Go(func() { p.read(ctx, name, partition) })
		}
	}
}

func (p *tap) wait() {
	p.work.Wait()
	_ = p.client.Close()
}

// read reads a partition from its first record.
func (p *tap) read(ctx context.Context, topic string, partition int) {
	var offset int64
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		next, err := p.fetch(one, topic, partition, offset)
		cancel()
		if next > offset {
			offset = next
			p.mu.Lock()
			p.ends[fmt.Sprintf("%s/%d", topic, partition)] = offset
			p.mu.Unlock()
		}
		if errors.Is(err, kafka.OffsetOutOfRange) {
			p.blame("%s/%d has no record %d: it was trimmed before it was read, or lost", topic, partition, offset)
			return
		}
		if err != nil {
			_ = until(ctx, time.Now().Add(200*time.Millisecond))
		}
	}
}

// fetch reads what there is from offset and returns where to go on.
func (p *tap) fetch(ctx context.Context, topic string, partition int, offset int64) (int64, error) {
	res, err := p.client.Kafka().Fetch(ctx, &kafka.FetchRequest{
		Topic: topic, Partition: partition, Offset: offset, MinBytes: 1, MaxBytes: 4 << 20, MaxWait: time.Second,
	})
	if err != nil {
		return offset, err
	}
	if res.Error != nil {
		return offset, res.Error
	}
	for {
		r, err := res.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return offset, nil
		}
		if err != nil {
			return offset, err
		}
		if r.Offset < offset {
			continue // the batch began before
		}
		one, err := landed(topic, partition, r)
		if err != nil {
			return offset, err
		}
		p.keep(one)
		offset = r.Offset + 1
	}
}

func landed(topic string, partition int, r *kafka.Record) (custody.Record, error) {
	key, err := kafka.ReadAll(r.Key)
	if err != nil {
		return custody.Record{}, err
	}
	value, err := kafka.ReadAll(r.Value)
	headers := make([]broker.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = broker.Header{Key: h.Key, Value: h.Value}
	}
	return custody.Record{Topic: topic, Partition: partition, Offset: r.Offset, Key: key, Value: value, Headers: headers, Time: r.Time}, err
}

func (p *tap) keep(r custody.Record) {
	if r.Topic == p.client.Topics().Dead() {
		p.blame("a record of %s is dead: %s", record.Header(r, record.HeaderDeadTopic), record.Header(r, record.HeaderDeadReason))
		return
	}
	ev, err := p.codec.OpenEvent(r)
	if err != nil {
		p.blame("record %d of %s/%d: %v", r.Offset, r.Topic, r.Partition, err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	id := ev.GetMailId()
	p.told[id] = append(p.told[id], Told{Event: ev, Written: r.Time})
	to := strings.ToLower(ev.GetFacts().GetRecipient())
	if p.ids[to] == nil {
		p.ids[to] = map[string]bool{}
	}
	p.ids[to][id] = true
}

func (p *tap) blame(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

// about is all that was told of a mail.
func (p *tap) about(mailID string) []Told {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Told(nil), p.told[mailID]...)
}

// known are the ids of mail to a recipient.
func (p *tap) known(to string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for id := range p.ids[to] {
		ids = append(ids, id)
	}
	return ids
}
