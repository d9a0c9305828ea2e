package embedded

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/catalog"
	"kurir.dev/kit/broker/embedded/internal/wire"
)

// Offsets that are not times, in ListOffsets.
const (
	latest   = -1
	earliest = -2
)

// listOffsets finds offsets by time, and the ends of logs.
func (e *Broker) listOffsets(ctx context.Context, _ *wire.Request, q *kmsg.ListOffsetsRequest) kmsg.Response {
	res := kmsg.NewPtrListOffsetsResponse()
	for _, qt := range q.Topics {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = qt.Topic
		for _, qp := range qt.Partitions {
			t.Partitions = append(t.Partitions, e.listOffset(ctx, qt.Topic, qp))
		}
		res.Topics = append(res.Topics, t)
	}
	return res
}

func (e *Broker) listOffset(
	ctx context.Context, topic string, q kmsg.ListOffsetsRequestTopicPartition,
) kmsg.ListOffsetsResponseTopicPartition {
	p := kmsg.NewListOffsetsResponseTopicPartition()
	p.Partition, p.Offset, p.Timestamp = q.Partition, -1, -1
	l := e.topics.Log(topic, q.Partition)
	if l == nil {
		p.ErrorCode = wire.UnknownTopicOrPartition
		return p
	}
	start, end := l.Bounds()
	p.LeaderEpoch = 0
	switch {
	case q.Timestamp == latest:
		p.Offset = end
	case q.Timestamp == earliest:
		p.Offset = start
	case q.Timestamp < 0:
		p.ErrorCode = wire.InvalidRequest
	default:
		var err error
		if p.Offset, p.Timestamp, err = l.Since(ctx, q.Timestamp); err != nil {
			e.log.ErrorContext(ctx, "records cannot be read",
				slog.String("topic", topic), slog.Int("partition", int(q.Partition)), slog.Any("error", err))
			p.ErrorCode = wire.StorageError
		}
	}
	return p
}

// deleteRecords moves the starts of logs, for good.
func (e *Broker) deleteRecords(ctx context.Context, _ *wire.Request, q *kmsg.DeleteRecordsRequest) kmsg.Response {
	res := kmsg.NewPtrDeleteRecordsResponse()
	for _, qt := range q.Topics {
		t := kmsg.NewDeleteRecordsResponseTopic()
		t.Topic = qt.Topic
		for _, qp := range qt.Partitions {
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition = qp.Partition
			p.LowWatermark, p.ErrorCode = e.deleteTo(ctx, catalog.Place{Topic: qt.Topic, Partition: qp.Partition}, qp.Offset)
			t.Partitions = append(t.Partitions, p)
		}
		res.Topics = append(res.Topics, t)
	}
	return res
}

func (e *Broker) deleteTo(ctx context.Context, at catalog.Place, offset int64) (start int64, code int16) {
	l := e.topics.Log(at.Topic, at.Partition)
	if l == nil {
		return -1, wire.UnknownTopicOrPartition
	}
	start, end := l.Bounds()
	if offset == -1 { // all of it
		offset = end
	}
	if offset < 0 || offset > end {
		return start, wire.OffsetOutOfRange
	}
	if err := e.topics.Trim(ctx, map[catalog.Place]int64{at: offset}); err != nil {
		e.log.ErrorContext(ctx, "records cannot be deleted",
			slog.String("topic", at.Topic), slog.Int("partition", int(at.Partition)), slog.Any("error", err))
		return start, wire.StorageError
	}
	return max(start, offset), wire.None
}
