package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/record"
	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/crowd"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/waiting"
)

const (
	scope = "kurir.dev/services/router"
	// announcements is how many events that nobody waits for may queue.
	announcements = 8192
)

// Post carries mail and events to the broker. It is safe for concurrent use.
type Post struct {
	client   *broker.Client
	producer *broker.Producer
	codec    *record.Codec
	gate     *gate.Gate
	topics   func(lane string) string
	tracer   trace.Tracer
	log      *slog.Logger
	now      func() time.Time
	events   chan announcement
	lost     metric.Int64Counter
	placed   metric.Int64Counter
}

// announcement is an event that nobody waits for, and who is told whether the
// broker has it.
type announcement struct {
	event *eventsv1.Event
	done  func(told bool)
}

var (
	_ admission.Carrier = (*Post)(nil)
	_ waiting.Carrier   = (*Post)(nil)
)

// NewPost makes a post over a producer; g guards the sealing and may be nil.
// Run must run beside it for Accepted to be told.
func NewPost(
	ctx context.Context, c *broker.Client, p *broker.Producer, codec *record.Codec, g *gate.Gate,
	t *telemetry.Telemetry, now func() time.Time,
) (*Post, error) {
	lost, err := t.Meter(scope).Int64Counter("kurir_router_events_lost",
		metric.WithDescription("Events of acceptance that the broker did not take; the sweep tells them again for mail with a key."))
	if err != nil {
		return nil, fmt.Errorf("making the counter of lost events: %w", err)
	}
	lost.Add(ctx, 0)
	placed, err := t.Meter(scope).Int64Counter("kurir_router_placed",
		metric.WithDescription("Mail put onto lanes, by lane and band: what a tenant has beyond overflow.after goes into the overflow band."))
	if err != nil {
		return nil, fmt.Errorf("making the counter of placed mail: %w", err)
	}
	return &Post{
		client: c, producer: p, codec: codec, gate: g, topics: c.Topics().Lane, tracer: t.Tracer(scope), log: t.Log, now: now,
		events: make(chan announcement, announcements), lost: lost, placed: placed,
	}, nil
}

// Publish implements admission.Carrier.
func (p *Post) Publish(ctx context.Context, m mail.Mail, s *crowd.Seat) error {
	e, err := envelope(m)
	if err != nil {
		return err
	}
	return p.publish(ctx, e, s)
}

// publish puts an envelope where its seat is, under a span that the rest of the
// mail's trace descends from.
func (p *Post) publish(ctx context.Context, e *eventsv1.MailEnvelope, s *crowd.Seat) error {
	topic := p.topics(e.GetLane())
	ctx, span := p.tracer.Start(ctx, "publish "+topic, trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(
			attribute.String("messaging.system", "kafka"),
			attribute.String("messaging.destination.name", topic),
			attribute.String("kurir.mail_id", e.GetMailId()),
			attribute.String("kurir.tenant", e.GetTenant()),
			attribute.String("kurir.lane", e.GetLane()),
			attribute.String("kurir.band", s.Band().String()),
			attribute.Int("kurir.attempt", int(e.GetAttempt())),
		))
	defer span.End()
	e.Traceparent, e.Tracestate = telemetry.Inject(ctx)
	msg, err := p.pack(ctx, e)
	if err == nil {
		err = p.seat(ctx, e.GetLane(), msg, s)
	}
	if err != nil {
		span.SetStatus(codes.Error, "not acknowledged")
		return fmt.Errorf("producing to %s: %w", topic, err)
	}
	return nil
}

// seat produces a record where its seat is and waits for the acknowledgement
// until ctx ends; one that comes later still tells where it landed.
func (p *Post) seat(ctx context.Context, lane string, msg broker.Message, s *crowd.Seat) error {
	// Asked first as long as ctx lasts; PartitionIn then knows it.
	_, err := p.client.Partitions(ctx, msg.Topic)
	if err == nil {
		msg.Partition, err = p.producer.PartitionIn(msg.Topic, msg.Key, s.Band())
	}
	if err != nil {
		return err
	}
	acked := make(chan error, 1)
	err = p.producer.Enqueue(msg, func(pos broker.Position, err error) {
		if err == nil {
			s.Landed(pos.Partition, pos.Offset)
			p.placed.Add(context.WithoutCancel(ctx), 1,
				metric.WithAttributes(attribute.String("lane", lane), attribute.String("band", s.Band().String())))
		}
		acked <- err
	})
	if err != nil {
		return err
	}
	select {
	case err = <-acked:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pack makes the record of an envelope: all computation, hence at the gate.
func (p *Post) pack(ctx context.Context, e *eventsv1.MailEnvelope) (broker.Message, error) {
	leave, err := p.gate.Enter(ctx, e.GetLane(), e.GetTenant())
	if err != nil {
		return broker.Message{}, err
	}
	defer leave()
	return p.codec.Mail(e)
}

// Seal implements admission.Carrier.
func (p *Post) Seal(ctx context.Context, m mail.Mail) ([]byte, error) {
	e, err := envelope(m)
	if err != nil {
		return nil, err
	}
	e.Traceparent, e.Tracestate = telemetry.Inject(ctx)
	leave, err := p.gate.Enter(ctx, m.Lane, m.Tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	return p.codec.SealEnvelope(e)
}

// Accepted implements admission.Carrier. When the queue is full the event is
// lost and counted.
func (p *Post) Accepted(ctx context.Context, m mail.Mail, r admission.Receipt, done func(told bool)) {
	if done == nil {
		done = func(bool) {}
	}
	f, err := facts(m.Facts)
	if err != nil {
		done(false) // Publish has refused such a mail before
		return
	}
	e := &eventsv1.MailEnvelope{MailId: m.ID, Tenant: m.Tenant, Lane: m.Lane, Facts: f, Traceparent: m.Trace.Parent}
	if e.GetTraceparent() == "" {
		e.Traceparent, _ = telemetry.Inject(ctx)
	}
	select {
	case p.events <- announcement{event: accepted(e, r), done: done}:
	default:
		p.lost.Add(ctx, 1)
		done(false)
	}
}

// Release implements waiting.Carrier.
func (p *Post) Release(ctx context.Context, w waiting.Mail, s *crowd.Seat) error {
	e, err := p.open(ctx, w)
	if err != nil {
		return err
	}
	e.Attempt = w.Attempt
	e.PossibleDuplicate = e.GetPossibleDuplicate() || w.InDoubt
	ctx = telemetry.Extract(ctx, e.GetTraceparent(), e.GetTracestate())
	if err := p.publish(ctx, e, s); err != nil {
		return err
	}
	return p.say(ctx, append(p.owed(e, w), released(e, w, p.now())))
}

// Settle implements waiting.Carrier. A mail whose envelope does not open ends
// all the same, with an event that has no facts.
func (p *Post) Settle(ctx context.Context, w waiting.Mail) error {
	e, err := p.open(ctx, w)
	switch {
	case errors.Is(err, waiting.ErrUnreadable):
		e = &eventsv1.MailEnvelope{MailId: w.ID, Tenant: w.Tenant, Lane: w.Lane}
	case err != nil:
		return err
	}
	if err := p.say(ctx, append(p.owed(e, w), settled(e, w, p.now()))); err != nil {
		return fmt.Errorf("telling that a mail is %s: %w", w.Ending, err)
	}
	return nil
}

// Tell implements waiting.Carrier.
func (p *Post) Tell(ctx context.Context, w waiting.Mail) error {
	e, err := p.open(ctx, w)
	if err != nil {
		return err
	}
	return p.say(ctx, p.owed(e, w))
}

// owed are the events that a waiting mail has still to tell.
func (p *Post) owed(e *eventsv1.MailEnvelope, w waiting.Mail) []*eventsv1.Event {
	var evs []*eventsv1.Event
	if w.Tell&waiting.TellScheduled != 0 {
		evs = append(evs, scheduled(e, w))
	}
	if w.Tell&waiting.TellHeld != 0 {
		evs = append(evs, held(e, w))
	}
	if w.Tell&waiting.TellDecided != 0 {
		evs = append(evs, decided(e, w, p.now()))
	}
	return evs
}

// say tells events and returns when all are acked.
func (p *Post) say(ctx context.Context, evs []*eventsv1.Event) error {
	acks := make(chan error, len(evs))
	for _, ev := range evs {
		msg, err := p.codec.Event(ev)
		if err == nil {
			err = p.producer.Enqueue(msg, func(_ broker.Position, err error) { acks <- err })
		}
		if err != nil {
			return err
		}
	}
	for range evs {
		select {
		case err := <-acks:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (p *Post) open(ctx context.Context, w waiting.Mail) (*eventsv1.MailEnvelope, error) {
	leave, err := p.gate.Enter(ctx, w.Lane, w.Tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	e, err := p.codec.OpenEnvelope(w.ID, w.Envelope)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", waiting.ErrUnreadable, err)
	}
	return e, nil
}

// Run tells queued events until ctx ends, then what is left, as far as the
// producer takes it at once.
func (p *Post) Run(ctx context.Context) error {
	for {
		select {
		case a := <-p.events:
			p.announce(ctx, a)
		case <-ctx.Done():
			for {
				select {
				case a := <-p.events:
					p.announce(ctx, a)
				default:
					return nil
				}
			}
		}
	}
}

func (p *Post) announce(ctx context.Context, a announcement) {
	answer := func(err error) {
		if err != nil {
			p.lost.Add(ctx, 1)
			p.log.WarnContext(ctx, "event was lost", slog.String("mail_id", a.event.GetMailId()), slog.Any("error", err))
		}
		a.done(err == nil)
	}
	msg, err := p.codec.Event(a.event)
	if err == nil {
		err = p.producer.Enqueue(msg, func(_ broker.Position, err error) { answer(err) })
	}
	if err != nil {
		answer(err)
	}
}

// Put puts a record where it says and returns where it lies.
func (p *Post) Put(ctx context.Context, msg broker.Message) (broker.Position, error) {
	return p.producer.Produce(ctx, msg)
}

// Dead puts a record that cannot be decoded onto the dead topic.
func (p *Post) Dead(ctx context.Context, msg broker.Message) error {
	_, err := p.producer.Produce(ctx, msg)
	return err
}
