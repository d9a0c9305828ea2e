// Package scan reads stretches of partitions by place and time, beside any
// consumer group and without moving anybody's offsets.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
)

// chunk is how many bytes are asked for at once.
const chunk = 1 << 20

// Reader reads. Safe for concurrent use.
type Reader struct{ client *broker.Client }

// New makes a reader.
func New(c *broker.Client) *Reader { return &Reader{client: c} }

// Bounds are the first offset of a partition and the one after its last.
func (r *Reader) Bounds(ctx context.Context, topic string, partition int) (broker.Bounds, error) {
	n, err := r.client.Partitions(ctx, topic)
	if err != nil {
		return broker.Bounds{}, err
	}
	if partition < 0 || partition >= n {
		return broker.Bounds{}, fmt.Errorf("%s has no partition %d", topic, partition)
	}
	ends, err := r.client.Ends(ctx, topic, n)
	if err != nil {
		return broker.Bounds{}, fmt.Errorf("asking for the bounds of %s: %w", topic, err)
	}
	return ends[partition], nil
}

// At is the offset of the first record that was produced at a time or later;
// that after the last when there is none.
func (r *Reader) At(ctx context.Context, topic string, partition int, t time.Time) (int64, error) {
	res, err := r.client.Kafka().ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.TimeOffsetOf(partition, t)},
	}})
	if err != nil {
		return 0, fmt.Errorf("asking for an offset of %s by time: %w", topic, err)
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return 0, fmt.Errorf("asking for an offset of %s by time: %w", topic, p.Error)
		}
		for offset := range p.Offsets {
			if offset >= 0 {
				return offset, nil
			}
		}
	}
	b, err := r.Bounds(ctx, topic, partition)
	return b.Last, err
}

// Read calls each for the records from one offset up to another, in order,
// until each answers false. Offsets that do not exist any more are passed over.
func (r *Reader) Read(ctx context.Context, topic string, partition int, from, to int64, each func(custody.Record) bool) error {
	for from < to {
		res, err := r.client.Kafka().Fetch(ctx, &kafka.FetchRequest{
			Topic: topic, Partition: partition, Offset: from, MinBytes: 1, MaxBytes: chunk, MaxWait: 100 * time.Millisecond,
		})
		if err == nil {
			err = res.Error
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", topic, err)
		}
		next, more, err := read(res.Records, topic, partition, from, to, each)
		if err != nil {
			return fmt.Errorf("reading %s: %w", topic, err)
		}
		if !more {
			return nil
		}
		if next == from { // nothing was there: it was trimmed meanwhile, or is not yet
			b, err := r.Bounds(ctx, topic, partition)
			if err != nil {
				return err
			}
			if next = b.First; next <= from {
				return nil
			}
		}
		from = next
	}
	return ctx.Err()
}

// read hands out one answer's records and tells where to go on.
func read(
	records kafka.RecordReader, topic string, partition int, from, to int64, each func(custody.Record) bool,
) (next int64, more bool, err error) {
	next = from
	for {
		rec, err := records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return next, true, nil
		}
		if err != nil {
			return next, true, err
		}
		if rec.Offset < from { // an answer may begin before what was asked for
			continue
		}
		if rec.Offset >= to {
			return to, false, nil
		}
		next = rec.Offset + 1
		r, err := record(rec, topic, partition)
		if err != nil {
			return next, true, err
		}
		if !each(r) {
			return next, false, nil
		}
	}
}

// record copies a record out of an answer.
func record(rec *kafka.Record, topic string, partition int) (custody.Record, error) {
	out := custody.Record{Topic: topic, Partition: partition, Offset: rec.Offset, Time: rec.Time}
	var errs [2]error
	out.Key, errs[0] = kafka.ReadAll(rec.Key)
	out.Value, errs[1] = kafka.ReadAll(rec.Value)
	for _, h := range rec.Headers {
		out.Headers = append(out.Headers, broker.Header{Key: h.Key, Value: h.Value})
	}
	return out, errors.Join(errs[:]...)
}
