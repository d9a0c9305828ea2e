package ingest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"kurir.dev/kit/backoff"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
)

// write stores what the readers bring until ctx ends. What comes after a quiet
// while is stored at once; under load a transaction takes what has gathered
// since the last began, a pace ago at least, for many small ones would take the
// machine from those who deliver.
func (in *Ingester) write(ctx context.Context) {
	batch := make([]item, 0, in.cfg.Batch)
	pace := time.NewTimer(0)
	defer pace.Stop()
	for due := false; ; due = false {
		batch = batch[:0]
		select {
		case it := <-in.lined:
			batch = append(batch, it)
		case <-ctx.Done():
			return
		}
		for !due && len(batch) < in.cfg.Batch {
			select {
			case it := <-in.lined:
				batch = append(batch, it)
			case <-pace.C:
				due = true
			case <-ctx.Done():
				return
			}
		}
		pace.Reset(in.cfg.Pace)
		in.commit(ctx, in.gather(batch))
	}
}

// gather adds what waits to batch.
func (in *Ingester) gather(batch []item) []item {
	for len(batch) < in.cfg.Batch {
		select {
		case it := <-in.lined:
			batch = append(batch, it)
		default:
			return batch
		}
	}
	return batch
}

// commit stores a batch, however long it takes, or until ctx ends.
func (in *Ingester) commit(ctx context.Context, batch []item) {
	wait := backoff.Policy{Max: 5 * time.Second}
	for n := 1; ctx.Err() == nil; n++ {
		err := in.ingest(ctx, batch)
		if err == nil || ctx.Err() != nil {
			return
		}
		if errors.Is(err, store.ErrRefused) && (len(batch) > 1 || batch[0].unfit == "") {
			in.divide(ctx, batch, err)
			return
		}
		in.log.ErrorContext(ctx, "storing events failed, trying again", slog.Int("events", len(batch)), slog.Any("error", err))
		_ = wait.Wait(ctx, n)
	}
}

// divide finds the record for whose data the store refuses a batch, and buries
// it.
func (in *Ingester) divide(ctx context.Context, batch []item, cause error) {
	if len(batch) > 1 {
		half := len(batch) / 2
		in.commit(ctx, batch[:half])
		in.commit(ctx, batch[half:])
		return
	}
	it := &batch[0]
	in.log.ErrorContext(ctx, "the store refuses a record, it goes to the dead topic", slog.String("topic", it.Topic),
		slog.Int("partition", it.Partition), slog.Int64("offset", it.Offset), slog.Any("error", cause))
	it.unfit = "the store refuses it"
	in.commit(ctx, batch)
}

// opened is how many records are opened between two pauses.
const opened = 32

// turn is a place at the gate that is given up and taken again, so that a
// batch is no step that an urgent mail waits for.
type turn struct {
	gate  *gate.Gate
	ctx   context.Context //nolint:containedctx // of one batch
	leave func()
}

// Pause implements store.Turn. Without a place, because ctx has ended, it goes
// on all the same: the batch is seen through.
func (t *turn) Pause() {
	t.leave()
	t.leave = func() {}
	if leave, err := t.gate.Enter(t.ctx, gate.Background); err == nil {
		t.leave = leave
	}
}

// Leave implements store.Turn.
func (t *turn) Leave() { t.leave() }

// ingest opens a batch, stores it in one transaction and tells of it.
func (in *Ingester) ingest(ctx context.Context, batch []item) error {
	share := turn{gate: in.Gate, ctx: ctx, leave: func() {}}
	share.Pause()
	defer share.Leave()
	began := in.Now()
	records := make([]store.Record, len(batch))
	for i := range batch {
		if err := in.open(&batch[i]); err != nil {
			return err
		}
		if i%opened == opened-1 {
			share.Pause()
		}
		records[i] = batch[i].Record
	}
	res, err := in.Store.Ingest(ctx, records, began, &share)
	if err != nil {
		return err
	}
	ended := in.Now()
	counts := make(map[mail.Type]int64)
	for i, fate := range res.Fates {
		it := &batch[i]
		it.reader.stored(it.Offset+1, it.raw.Time)
		switch fate {
		case store.Stored:
			counts[it.Event.Type]++
			in.trace(ctx, it.Event, began, ended)
		case store.Repeated:
			in.meters.repeated.Add(ctx, 1)
		case store.Buried:
			in.meters.poison.Add(ctx, 1)
			in.log.WarnContext(ctx, "record goes to the dead topic", slog.String("topic", it.Topic),
				slog.Int("partition", it.Partition), slog.Int64("offset", it.Offset))
		case store.Passed:
		}
	}
	in.meters.stored(ctx, counts)
	in.meters.late.Add(ctx, int64(res.LateFinals))
	in.meters.took.Record(ctx, ended.Sub(began).Seconds())
	in.Stored(res.Parcels)
	return nil
}

// trace puts the storing of an event into the trace of its mail.
func (in *Ingester) trace(ctx context.Context, e *mail.Event, began, ended time.Time) {
	if e.Traceparent == "" {
		return
	}
	_, span := in.tracer.Start(telemetry.Extract(ctx, e.Traceparent, ""), "ingest", trace.WithTimestamp(began),
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("kurir.mail_id", e.MailID), attribute.String("kurir.event_type", e.Type.String())))
	span.End(trace.WithTimestamp(ended))
}

// show commits to the broker what is stored, where it moved.
func (in *Ingester) show(ctx context.Context) error {
	topics := make(map[string][]kafka.OffsetCommit)
	var shown []*reader
	in.mu.Lock()
	for _, r := range in.readers {
		r.mu.Lock()
		if r.next != r.shownAt && r.next > 0 {
			topics[r.at.topic] = append(topics[r.at.topic], kafka.OffsetCommit{Partition: r.at.partition, Offset: r.next})
			shown = append(shown, r)
		}
		r.mu.Unlock()
	}
	in.mu.Unlock()
	if len(topics) == 0 {
		return nil
	}
	res, err := in.Broker.Kafka().OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: in.cfg.Group, GenerationID: -1, Topics: topics})
	if err != nil {
		return err
	}
	committed := make(map[place]int64)
	for name, parts := range topics {
		for _, p := range parts {
			committed[place{name, p.Partition}] = p.Offset
		}
	}
	for name, parts := range res.Topics {
		for _, p := range parts {
			if p.Error != nil {
				delete(committed, place{name, p.Partition})
				err = p.Error
			}
		}
	}
	for _, r := range shown {
		if next, ok := committed[r.at]; ok {
			r.mu.Lock()
			r.shownAt = next
			r.mu.Unlock()
		}
	}
	return err
}
