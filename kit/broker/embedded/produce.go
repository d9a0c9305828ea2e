package embedded

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"kurir.dev/kit/broker/embedded/internal/seglog"
	"kurir.dev/kit/broker/embedded/internal/wire"
)

// errUnanswered cuts the connection of a producer that wants no answers and
// should learn that something went wrong.
var errUnanswered = errors.New("record without acknowledgement was not taken")

// produce appends to all partitions of the request at once and waits for all.
func (e *Broker) produce(ctx context.Context, r *wire.Request, dst []byte) ([]byte, error) {
	var p wire.Produce
	if err := p.Parse(r.Body); err != nil {
		return nil, err
	}
	appends := make([]seglog.Append, len(p.Batches))
	logs := make([]*seglog.Log, len(p.Batches))
	var wait sync.WaitGroup
	for i := range p.Batches {
		b := &p.Batches[i]
		if logs[i], b.Code = e.admit(&p, b); b.Code == wire.None {
			appends[i] = seglog.Append{Batch: b.Records, Done: &wait}
			logs[i].Append(&appends[i])
		}
	}
	wait.Wait()
	var failed bool
	for i := range p.Batches {
		b, a := &p.Batches[i], &appends[i]
		if b.Code == wire.None && a.Err != nil {
			b.Code = wire.StorageError
			e.log.WarnContext(ctx, "records were not taken",
				slog.String("topic", b.Topic), slog.Int("partition", int(b.Partition)), slog.Any("error", a.Err))
		}
		if b.Code == wire.None {
			b.Base = a.Base
			b.Start, _ = logs[i].Bounds()
		}
		failed = failed || b.Code != wire.None
	}
	switch {
	case p.Acks != 0:
		return p.AppendTo(dst, r.Version), nil
	case failed:
		return nil, errUnanswered
	}
	return nil, nil
}

// admit says where a batch goes, or why it goes nowhere.
func (e *Broker) admit(p *wire.Produce, b *wire.Batch) (*seglog.Log, int16) {
	l := e.topics.Log(b.Topic, b.Partition)
	settings, ok := e.topics.Settings(b.Topic)
	switch {
	case p.Acks < -1 || p.Acks > 1:
		return nil, wire.InvalidRequiredAcks
	case l == nil || !ok:
		return nil, wire.UnknownTopicOrPartition
	case p.Transactional:
		return nil, wire.InvalidRecord
	case len(b.Records) > settings.MaxMessage:
		return nil, wire.MessageTooLarge
	case e.guard.refuses(b.Topic):
		return nil, wire.StorageError
	}
	switch err := seglog.Check(b.Records); {
	case errors.Is(err, seglog.ErrCorrupt):
		return nil, wire.CorruptMessage
	case err != nil:
		return nil, wire.InvalidRecord
	}
	return l, wire.None
}
