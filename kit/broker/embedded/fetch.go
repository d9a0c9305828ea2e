package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/seglog"
	"kurir.dev/kit/broker/embedded/internal/wire"
)

const (
	// fetchMin and fetchMax are the versions of Fetch answered here: batches
	// of format 2, no tagged fields.
	fetchMin = 4
	fetchMax = 11

	// mostFetched bounds the records of one answer.
	mostFetched = 8 << 20
	// longestWait bounds how long a fetch may wait for records.
	longestWait = time.Minute
)

// fetch answers with what there is, or waits until there is enough, for as
// long as the client says. Every fetch stands for itself: sessions (KIP-227)
// are declined, as they may be.
func (e *Broker) fetch(ctx context.Context, r *wire.Request, dst []byte) ([]byte, error) {
	var q kmsg.FetchRequest
	q.Version = r.Version
	if err := q.ReadFrom(r.Body); err != nil {
		return nil, err
	}
	f := fetching{Broker: e, q: &q, r: r}
	start := len(dst)
	dst = f.read(ctx, dst)
	if f.enough() || q.MaxWaitMillis <= 0 {
		return dst, nil
	}
	more := make(chan struct{}, 1)
	logs := f.logs()
	for _, l := range logs {
		l.Watch(more)
	}
	defer func() {
		for _, l := range logs {
			l.Unwatch(more)
		}
	}()
	timeout := time.NewTimer(min(time.Duration(q.MaxWaitMillis)*time.Millisecond, longestWait))
	defer timeout.Stop()
	for {
		if dst = f.read(ctx, dst[:start]); f.enough() {
			return dst, nil
		}
		select {
		case <-more:
		case <-timeout.C:
			return dst, nil
		case <-ctx.Done():
			return dst, nil
		}
	}
}

// fetching is one fetch under way.
type fetching struct {
	*Broker

	q      *kmsg.FetchRequest
	r      *wire.Request
	got    int
	failed bool
}

// logs are those asked for that there are.
func (f *fetching) logs() []*seglog.Log {
	var logs []*seglog.Log
	for _, t := range f.q.Topics {
		for _, p := range t.Partitions {
			if l := f.topics.Log(t.Topic, p.Partition); l != nil {
				logs = append(logs, l)
			}
		}
	}
	return logs
}

// enough says that the answer need not wait.
func (f *fetching) enough() bool {
	return f.failed || f.got > 0 && f.got >= int(min(f.q.MinBytes, mostFetched))
}

// read appends the response, records and all.
func (f *fetching) read(ctx context.Context, dst []byte) []byte {
	f.got, f.failed = 0, false
	be := binary.BigEndian
	version := f.r.Version
	dst = be.AppendUint32(dst, 0) // not throttled
	if version >= 7 {
		code := wire.None
		if f.q.SessionEpoch > 0 { // goes on with a session that it cannot have
			code, f.failed = wire.FetchSessionNotFound, true
		}
		dst = be.AppendUint16(dst, uint16(code))
		dst = be.AppendUint32(dst, 0) // no session
		if code != wire.None {
			return be.AppendUint32(dst, 0)
		}
	}
	dst = be.AppendUint32(dst, uint32(len(f.q.Topics)))
	for i := range f.q.Topics {
		t := &f.q.Topics[i]
		dst = be.AppendUint16(dst, uint16(len(t.Topic)))
		dst = append(dst, t.Topic...)
		dst = be.AppendUint32(dst, uint32(len(t.Partitions)))
		for j := range t.Partitions {
			dst = f.partition(ctx, dst, t.Topic, &t.Partitions[j])
		}
	}
	return dst
}

// partition appends what one partition has.
func (f *fetching) partition(ctx context.Context, dst []byte, topic string, p *kmsg.FetchRequestTopicPartition) []byte {
	be := binary.BigEndian
	dst = be.AppendUint32(dst, uint32(p.Partition))
	codeAt := len(dst)
	start, end := int64(-1), int64(-1)
	l := f.topics.Log(topic, p.Partition)
	if l != nil {
		start, end = l.Bounds()
	}
	dst = be.AppendUint16(dst, 0)
	dst = be.AppendUint64(dst, uint64(end))
	dst = be.AppendUint64(dst, uint64(end)) // no transactions: all is stable
	if f.r.Version >= 5 {
		dst = be.AppendUint64(dst, uint64(start))
	}
	dst = be.AppendUint32(dst, ^uint32(0)) // none aborted
	if f.r.Version >= 11 {
		dst = be.AppendUint32(dst, ^uint32(0)) // no replica to prefer
	}
	sizeAt := len(dst)
	dst = be.AppendUint32(dst, 0)
	code := wire.UnknownTopicOrPartition
	if l != nil {
		dst, code = f.records(ctx, dst, l, topic, p)
	}
	size := len(dst) - sizeAt - 4
	be.PutUint32(dst[sizeAt:], uint32(size))
	be.PutUint16(dst[codeAt:], uint16(code))
	f.got += size
	f.failed = f.failed || code != wire.None
	return dst
}

// records appends batches: of the first partition that has any at least one
// (KIP-74), of the others what there is room for.
func (f *fetching) records(
	ctx context.Context, dst []byte, l *seglog.Log, topic string, p *kmsg.FetchRequestTopicPartition,
) ([]byte, int16) {
	most := min(int(p.PartitionMaxBytes), int(f.q.MaxBytes)-f.got, mostFetched-f.got)
	dst, err := l.Read(ctx, dst, p.FetchOffset, max(0, most), f.got == 0, f.r.Grow)
	switch _, gone := errors.AsType[*seglog.RangeError](err); {
	case err == nil:
		return dst, wire.None
	case gone:
		return dst, wire.OffsetOutOfRange
	}
	f.log.ErrorContext(ctx, "records cannot be read",
		slog.String("topic", topic), slog.Int("partition", int(p.Partition)),
		slog.Int64("offset", p.FetchOffset), slog.Any("error", err))
	if errors.Is(err, seglog.ErrCorrupt) {
		return dst, wire.CorruptMessage
	}
	return dst, wire.StorageError
}
