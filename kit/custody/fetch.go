package custody

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"kurir.dev/kit/broker"
)

const (
	// fetchBytes is how much is asked for at once; what is fetched and not
	// handed out yet is no more than that, or one batch.
	fetchBytes = 1 << 20
	// fetchWait is how long the broker may wait for a first record.
	fetchWait = time.Second
)

// errGone is the error of an offset that the log does not hold: it was deleted
// from the front, or the log was cut behind it.
var errGone = errors.New("offset is not in the log")

// errStalled is the error of records that exist, or answers, that do not come.
var errStalled = errors.New("nothing comes for long")

// errMoved is the error of a fetch that was given up because its partition has
// another leader.
var errMoved = errors.New("partition has another leader")

// tail reads a partition from an offset on, a batch at a time. It keeps
// nothing but the batch at hand, so whoever does not ask holds no more memory.
// Not safe for concurrent use.
type tail struct {
	client    *broker.Client
	topic     string
	partition int
	patience  time.Duration // how long an answer, or a record that exists, may take

	next  int64 // offset of the next record
	head  int64 // the partition's end, as of the last answer
	batch kafka.RecordReader
	since time.Time // when there was nothing to wait for last
}

// read returns the next record, and waits for one until ctx ends. After an
// error, [errGone], [errStalled] or what the broker says of itself, it may be
// called again.
func (t *tail) read(ctx context.Context) (Record, error) {
	t.since = time.Now()
	for {
		if t.batch == nil {
			if err := t.fetch(ctx); err != nil {
				return Record{}, err
			}
		}
		r, err := t.batch.ReadRecord()
		switch {
		case errors.Is(err, io.EOF):
			t.batch = nil
			if err := t.late(); err != nil {
				return Record{}, err
			}
			continue
		case err != nil:
			t.batch = nil
			return Record{}, fmt.Errorf("reading a batch: %w", err)
		}
		if r.Offset < t.next { // batches may begin before what was asked for
			continue
		}
		rec, err := t.record(r)
		if err != nil {
			t.batch = nil
			return Record{}, fmt.Errorf("reading a record: %w", err)
		}
		t.next = rec.Offset + 1
		return rec, nil
	}
}

// fetch asks once.
func (t *tail) fetch(ctx context.Context) error {
	due, cancel := context.WithTimeout(ctx, t.patience+fetchWait)
	defer cancel()
	led, moved := context.WithCancel(due)
	defer moved()
	defer follow(led, moved, t.leader)()
	res, err := t.client.Kafka().Fetch(led, &kafka.FetchRequest{
		Topic: t.topic, Partition: t.partition, Offset: t.next, MinBytes: 1, MaxBytes: fetchBytes, MaxWait: fetchWait,
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && overdue(due):
		return errStalled
	case err != nil && led.Err() != nil:
		return errMoved
	case err != nil:
		return fmt.Errorf("fetching: %w", err)
	case errors.Is(res.Error, kafka.OffsetOutOfRange):
		return errGone
	case errors.Is(res.Error, kafka.NotLeaderForPartition):
		return errMoved
	case res.Error != nil:
		return fmt.Errorf("fetching: %w", res.Error)
	}
	t.head, t.batch = res.HighWatermark, res.Records
	if stream, ok := res.Records.(*protocol.RecordStream); ok {
		for _, b := range stream.Records { // markers of transactions, which bear no records
			if control, ok := b.(*protocol.ControlBatch); ok && control.Offset() == t.next {
				t.next++
			}
		}
	}
	return nil
}

// overdue says that a context's time is up. A connection has the same time,
// and may notice before the context does.
func overdue(ctx context.Context) bool {
	deadline, bounded := ctx.Deadline()
	return bounded && !time.Now().Before(deadline)
}

// leader is the node that leads the partition, as far as the client has heard;
// negative while nobody does.
func (t *tail) leader(ctx context.Context) int {
	md, err := t.client.Kafka().Metadata(ctx, &kafka.MetadataRequest{Topics: []string{t.topic}})
	if err != nil || len(md.Topics) == 0 {
		return -1
	}
	for _, p := range md.Topics[0].Partitions {
		if p.ID == t.partition && p.Error == nil {
			return p.Leader.ID
		}
	}
	return -1
}

// late says that there are records, and that they have not come for long.
func (t *tail) late() error {
	switch {
	case t.head <= t.next:
		t.since = time.Now()
	case time.Since(t.since) > t.patience:
		t.since = time.Now()
		return errStalled
	}
	return nil
}

// record takes a record out of its batch.
func (t *tail) record(r *kafka.Record) (Record, error) {
	rec := Record{Topic: t.topic, Partition: t.partition, Offset: r.Offset, Time: r.Time}
	var err error
	if rec.Key, err = drain(r.Key); err != nil {
		return Record{}, err
	}
	if rec.Value, err = drain(r.Value); err != nil {
		return Record{}, err
	}
	if len(r.Headers) > 0 {
		rec.Headers = make([]broker.Header, len(r.Headers))
		for i, h := range r.Headers {
			rec.Headers[i] = broker.Header(h)
		}
	}
	return rec, nil
}

func drain(b kafka.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	defer b.Close()
	return kafka.ReadAll(b)
}
