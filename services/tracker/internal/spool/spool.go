// Package spool records hits: opens, clicks and unsubscribing.
//
// There is one truth about a hit, the event on Kafka, which ingestion stores as
// it stores every other. The way there must not keep a reader waiting, nor
// hang on the broker:
//
//  1. The page puts the hit into a bounded queue and answers.
//  2. The spool takes what waits, looks up the mails, classifies, and posts the
//     events to the store's outbox in one transaction.
//  3. The relay produces them to Kafka, whenever that is possible.
//
// When the queue or the outbox is full, hits are dropped and counted.
// Unsubscribing is not a hit like others: it is in the store before the answer.
package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"kurir.dev/kit/app"
	"kurir.dev/kit/backoff"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/record"
	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/tracker/internal/hit"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/wire"
)

// Hit is one fetch as the page saw it.
type Hit struct {
	ID      string // hit.NewID
	Tenant  string
	MailID  string
	Link    string // label; empty for the pixel
	URL     string // target; empty for the pixel
	Network string // hit.Network
	Request hit.Request
}

// Config bounds the spool.
type Config struct {
	Queue   int           // hits in memory
	Outbox  int64         // parcels in the store
	TooFast time.Duration // see hit.Classify
}

// Store is where hits go and mails are found; the tracker's store is one.
type Store interface {
	MailsByID(ctx context.Context, tenant string, ids []string) ([]mail.Mail, error)
	Post(ctx context.Context, messages []broker.Message) error
	AddErrand(ctx context.Context, e store.Errand, due time.Time, messages ...broker.Message) (store.Errand, error)
}

// Deps are what a Spool works with; all are required.
type Deps struct {
	Telemetry *telemetry.Telemetry
	Codec     *record.Codec
	Store     Store
	Depth     func() int64 // how many parcels wait in the store, about
	Posted    func()       // called when parcels or errands were added; must not block
	Now       func() time.Time
}

// Spool records hits; make it with New. Safe for concurrent use.
type Spool struct {
	Deps
	cfg     Config
	queue   chan Hit
	log     *slog.Logger
	tracer  trace.Tracer
	hits    metric.Int64Counter
	dropped metric.Int64Counter
}

// New makes a spool.
func New(deps Deps, cfg Config) *Spool {
	m := deps.Telemetry.Meter("kurir.dev/services/tracker/spool")
	// Instruments with constant, valid names do not fail.
	hits, _ := m.Int64Counter("kurir_tracker_hits", metric.WithDescription("Opens and clicks, by kind and class."))
	dropped, _ := m.Int64Counter("kurir_tracker_dropped_hits", metric.WithDescription("Hits that found the queue or the outbox full."))
	s := &Spool{
		Deps: deps, cfg: cfg, queue: make(chan Hit, cfg.Queue), log: deps.Telemetry.Log,
		tracer: deps.Telemetry.Tracer("kurir.dev/services/tracker/spool"), hits: hits, dropped: dropped,
	}
	ctx := context.Background() //nolint:forbidigo // counters begin at 0, outside of any call
	dropped.Add(ctx, 0)
	for _, kind := range []string{"open", "click", "unsubscribe"} {
		s.hits.Add(ctx, 0, classes(kind, hit.Human))
		s.hits.Add(ctx, 0, classes(kind, hit.Machine))
	}
	return s
}

func classes(kind string, c hit.Class) metric.MeasurementOption {
	class := "human"
	if c == hit.Machine {
		class = "machine"
	}
	return metric.WithAttributes(attribute.String("kind", kind), attribute.String("class", class))
}

// Part records from Start until Stop, which writes what is queued.
func (s *Spool) Part() app.Part {
	loop := app.Loop("hits", s.run)
	return app.Part{Name: loop.Name, Start: loop.Start, Failed: loop.Failed, Stop: func(ctx context.Context) error {
		err := loop.Stop(ctx)
		for ctx.Err() == nil {
			batch := s.gather(nil)
			if len(batch) == 0 {
				return err
			}
			err = errors.Join(err, s.post(ctx, batch))
		}
		return errors.Join(err, ctx.Err())
	}}
}

// Record takes a hit over without waiting; a full queue drops it.
func (s *Spool) Record(ctx context.Context, h Hit) {
	select {
	case s.queue <- h:
	default:
		s.dropped.Add(ctx, 1)
	}
}

// Unsubscribe writes that the reader of a mail wants no more of its kind: the
// event, and the errand that puts the address onto the suppression list. It is
// durable when nil is returned. Repeats are one event.
func (s *Spool) Unsubscribe(ctx context.Context, h Hit) error {
	mails, err := s.Store.MailsByID(ctx, h.Tenant, []string{h.MailID})
	if err != nil {
		return err
	}
	m := mail.Mail{Tenant: h.Tenant, ID: h.MailID}
	if len(mails) > 0 {
		m = mails[0]
	}
	msg, err := s.event(ctx, h, m, eventsv1.EventType_EVENT_TYPE_UNSUBSCRIBED)
	if err != nil {
		return err
	}
	errand := store.Errand{Kind: store.Suppress, Tenant: h.Tenant, Subject: h.MailID, Since: s.Now()}
	if _, err := s.Store.AddErrand(ctx, errand, s.Now(), msg); err != nil {
		return err
	}
	s.Posted()
	return nil
}

func (s *Spool) run(ctx context.Context) error {
	for {
		select {
		case h := <-s.queue:
			s.keep(ctx, s.gather([]Hit{h}))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// most is the most hits of one transaction.
const most = 500

// gather adds what waits to batch.
func (s *Spool) gather(batch []Hit) []Hit {
	for len(batch) < most {
		select {
		case h := <-s.queue:
			batch = append(batch, h)
		default:
			return batch
		}
	}
	return batch
}

// keep posts a batch, however long it takes; when ctx ends first the hits go
// back into the queue, for Stop.
func (s *Spool) keep(ctx context.Context, batch []Hit) {
	if s.Depth() > s.cfg.Outbox {
		s.dropped.Add(ctx, int64(len(batch)))
		return
	}
	err := backoff.Policy{Max: 5 * time.Second}.Retry(ctx, func(ctx context.Context, _ int) error {
		return s.post(ctx, batch)
	}, func(n int, err error) {
		s.log.ErrorContext(ctx, "recording hits failed, trying again", slog.Int("attempt", n), slog.Any("error", err))
	})
	if err != nil {
		for _, h := range batch {
			s.Record(ctx, h)
		}
	}
}

// post writes the events of hits into the outbox.
func (s *Spool) post(ctx context.Context, batch []Hit) error {
	mails, err := s.mails(ctx, batch)
	if err != nil {
		return err
	}
	messages := make([]broker.Message, 0, len(batch))
	for _, h := range batch {
		kind := eventsv1.EventType_EVENT_TYPE_OPENED
		if h.Request.Click {
			kind = eventsv1.EventType_EVENT_TYPE_CLICKED
		}
		msg, err := s.event(ctx, h, mails[[2]string{h.Tenant, h.MailID}], kind)
		if err != nil {
			s.log.ErrorContext(ctx, "hit cannot be encoded", slog.Any("error", err))
			continue
		}
		messages = append(messages, msg)
	}
	if err := s.Store.Post(ctx, messages); err != nil {
		return err
	}
	s.Posted()
	return nil
}

// mails finds the mails of hits by tenant and id.
func (s *Spool) mails(ctx context.Context, batch []Hit) (map[[2]string]mail.Mail, error) {
	ids := make(map[string][]string)
	found := make(map[[2]string]mail.Mail, len(batch))
	for _, h := range batch {
		k := [2]string{h.Tenant, h.MailID}
		if _, ok := found[k]; !ok {
			found[k] = mail.Mail{Tenant: h.Tenant, ID: h.MailID}
			ids[h.Tenant] = append(ids[h.Tenant], h.MailID)
		}
	}
	for tenant, list := range ids {
		mails, err := s.Store.MailsByID(ctx, tenant, list)
		if err != nil {
			return nil, err
		}
		for _, m := range mails {
			found[[2]string{m.Tenant, m.ID}] = m
		}
	}
	return found, nil
}

// event makes the record of a hit, and its span in the mail's trace.
func (s *Spool) event(ctx context.Context, h Hit, m mail.Mail, kind eventsv1.EventType) (broker.Message, error) {
	r := h.Request
	r.DeliveredAt = m.DeliveredAt
	verdict := hit.Classify(r, s.cfg.TooFast)
	name := map[eventsv1.EventType]string{
		eventsv1.EventType_EVENT_TYPE_OPENED: "open", eventsv1.EventType_EVENT_TYPE_CLICKED: "click",
		eventsv1.EventType_EVENT_TYPE_UNSUBSCRIBED: "unsubscribe",
	}[kind]
	s.hits.Add(ctx, 1, classes(name, verdict.Class))
	spanCtx, span := s.tracer.Start(telemetry.Extract(ctx, m.Traceparent, ""), name, trace.WithTimestamp(r.At),
		trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("kurir.mail_id", h.MailID), attribute.String("kurir.link", h.Link),
			attribute.Bool("kurir.human", verdict.Class == hit.Human), attribute.String("kurir.reason", verdict.Reason)))
	defer span.End()
	traceparent, _ := telemetry.Inject(spanCtx)
	facts, err := wire.AnswerFacts(m.Facts)
	if err != nil {
		return broker.Message{}, err
	}
	id := h.ID
	if kind == eventsv1.EventType_EVENT_TYPE_UNSUBSCRIBED {
		id = record.EventID(h.MailID, 0, 0, kind)
	}
	msg, err := s.Codec.Event(&eventsv1.Event{
		EventId: id, Type: kind, MailId: h.MailID, Tenant: h.Tenant, Lane: m.Lane, OccurredAt: wire.Timestamp(r.At),
		Facts: facts, Traceparent: traceparent,
		Detail: &eventsv1.Event_Hit{Hit: &eventsv1.Hit{
			Link: h.Link, Url: h.URL, UserAgent: clip(r.UserAgent), Network: h.Network,
			Class:  eventsv1.HitClass(verdict.Class), // numbered alike
			Reason: verdict.Reason,
		}},
	})
	if err != nil {
		return msg, fmt.Errorf("encoding a hit: %w", err)
	}
	return msg, nil
}

// clip keeps a header's text short and fit for a message.
func clip(text string) string {
	const limit = 300
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}
