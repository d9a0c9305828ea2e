package wire

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/record"
	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/router/internal/admission"
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
	producer *broker.Producer
	codec    *record.Codec
	topics   func(lane string) string
	tracer   trace.Tracer
	log      *slog.Logger
	now      func() time.Time
	events   chan *eventsv1.Event
	lost     metric.Int64Counter
}

var (
	_ admission.Carrier = (*Post)(nil)
	_ waiting.Carrier   = (*Post)(nil)
)

// NewPost makes a post over a producer. Run must run beside it for Accepted
// and the events of releases to be told.
func NewPost(
	ctx context.Context, c *broker.Client, p *broker.Producer, codec *record.Codec,
	t *telemetry.Telemetry, now func() time.Time,
) (*Post, error) {
	lost, err := t.Meter(scope).Int64Counter("kurir_router_events_lost",
		metric.WithDescription("Events that nobody waited for and the broker did not take."))
	if err != nil {
		return nil, fmt.Errorf("making the counter of lost events: %w", err)
	}
	lost.Add(ctx, 0)
	return &Post{
		producer: p, codec: codec, topics: c.Topics().Lane, tracer: t.Tracer(scope), log: t.Log, now: now,
		events: make(chan *eventsv1.Event, announcements), lost: lost,
	}, nil
}

// Publish implements admission.Carrier.
func (p *Post) Publish(ctx context.Context, m mail.Mail) error {
	e, err := envelope(m)
	if err != nil {
		return err
	}
	return p.publish(ctx, e)
}

// publish puts an envelope onto its lane under a span that the rest of the
// mail's trace descends from.
func (p *Post) publish(ctx context.Context, e *eventsv1.MailEnvelope) error {
	topic := p.topics(e.GetLane())
	ctx, span := p.tracer.Start(ctx, "publish "+topic, trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(
			attribute.String("messaging.system", "kafka"),
			attribute.String("messaging.destination.name", topic),
			attribute.String("kurir.mail_id", e.GetMailId()),
			attribute.String("kurir.tenant", e.GetTenant()),
			attribute.String("kurir.lane", e.GetLane()),
			attribute.Int("kurir.attempt", int(e.GetAttempt())),
		))
	defer span.End()
	e.Traceparent, e.Tracestate = telemetry.Inject(ctx)
	msg, err := p.codec.Mail(e)
	if err == nil {
		_, err = p.producer.Produce(ctx, msg)
	}
	if err != nil {
		span.SetStatus(codes.Error, "not acknowledged")
		return fmt.Errorf("producing to %s: %w", topic, err)
	}
	return nil
}

// Seal implements admission.Carrier.
func (p *Post) Seal(ctx context.Context, m mail.Mail) ([]byte, error) {
	e, err := envelope(m)
	if err != nil {
		return nil, err
	}
	e.Traceparent, e.Tracestate = telemetry.Inject(ctx)
	return p.codec.SealEnvelope(e)
}

// Accepted implements admission.Carrier.
func (p *Post) Accepted(ctx context.Context, m mail.Mail, r admission.Receipt) {
	f, err := facts(m.Facts)
	if err != nil {
		return // Publish or Seal has refused such a mail before
	}
	e := &eventsv1.MailEnvelope{MailId: m.ID, Tenant: m.Tenant, Lane: m.Lane, Facts: f}
	e.Traceparent, _ = telemetry.Inject(ctx)
	p.announce(ctx, accepted(e, r))
}

// Release implements waiting.Carrier.
func (p *Post) Release(ctx context.Context, w waiting.Mail) error {
	e, err := p.open(w)
	if err != nil {
		return err
	}
	e.Attempt = w.Attempt
	ctx = telemetry.Extract(ctx, e.GetTraceparent(), e.GetTracestate())
	if err := p.publish(ctx, e); err != nil {
		return err
	}
	p.announce(ctx, released(e, w, p.now()))
	return nil
}

// Settle implements waiting.Carrier.
func (p *Post) Settle(ctx context.Context, w waiting.Mail) error {
	e, err := p.open(w)
	if err != nil {
		return err
	}
	msg, err := p.codec.Event(settled(e, w, p.now()))
	if err == nil {
		_, err = p.producer.Produce(ctx, msg)
	}
	if err != nil {
		return fmt.Errorf("telling that a mail is %s: %w", w.Ending, err)
	}
	return nil
}

func (p *Post) open(w waiting.Mail) (*eventsv1.MailEnvelope, error) {
	e, err := p.codec.OpenEnvelope(w.ID, w.Envelope)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", waiting.ErrUnreadable, err)
	}
	return e, nil
}

// announce queues an event that nobody waits for; when the queue is full the
// event is lost and counted.
func (p *Post) announce(ctx context.Context, ev *eventsv1.Event) {
	select {
	case p.events <- ev:
	default:
		p.lost.Add(ctx, 1)
	}
}

// Run tells queued events until ctx ends, then what is left, as far as the
// producer takes it at once.
func (p *Post) Run(ctx context.Context) error {
	for {
		select {
		case ev := <-p.events:
			p.tell(ctx, ev)
		case <-ctx.Done():
			for {
				select {
				case ev := <-p.events:
					p.tell(ctx, ev)
				default:
					return nil
				}
			}
		}
	}
}

func (p *Post) tell(ctx context.Context, ev *eventsv1.Event) {
	missed := func(err error) {
		p.lost.Add(ctx, 1)
		p.log.WarnContext(ctx, "event was lost", slog.String("mail_id", ev.GetMailId()), slog.Any("error", err))
	}
	msg, err := p.codec.Event(ev)
	if err == nil {
		err = p.producer.Enqueue(msg, func(_ broker.Position, err error) {
			if err != nil {
				missed(err)
			}
		})
	}
	if err != nil {
		missed(err)
	}
}

// Dead puts a record that cannot be decoded onto the dead topic.
func (p *Post) Dead(ctx context.Context, msg broker.Message) error {
	_, err := p.producer.Produce(ctx, msg)
	return err
}
