package deliver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"kurir.dev/services/dispatcher/internal/journal"
	"kurir.dev/services/dispatcher/internal/outcome"
)

// Metrics are the engine's instruments.
type Metrics struct {
	attempts   metric.Int64Counter
	final      metric.Float64Histogram
	took       metric.Float64Histogram
	duplicates metric.Int64Counter
	lookups    metric.Float64Histogram
	seconds    metric.Int64Counter
	orphans    metric.Int64Counter
	parked     metric.Int64Counter
	known      sync.Map // of *options by label
	looked     [2][]metric.RecordOption
}

// NewMetrics makes the instruments, counters at zero for the lanes given.
func NewMetrics(m metric.Meter, lanes []string) (*Metrics, error) {
	attempts, err1 := m.Int64Counter("kurir_dispatcher_attempts", metric.WithDescription("Outcomes by lane, kind and category."))
	final, err2 := m.Float64Histogram("kurir_dispatcher_accept_to_final", metric.WithUnit("s"),
		metric.WithDescription("From acceptance to the final outcome."),
		metric.WithExplicitBucketBoundaries(.005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 86400))
	took, err3 := m.Float64Histogram("kurir_dispatcher_attempt_took", metric.WithUnit("s"), metric.WithDescription("Duration of an attempt."),
		metric.WithExplicitBucketBoundaries(.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300))
	duplicates, err4 := m.Int64Counter("kurir_dispatcher_possible_duplicates",
		metric.WithDescription("Mails whose final dot was sent and whose reply was lost."))
	lookups, err5 := m.Float64Histogram("kurir_dispatcher_dns_lookup", metric.WithUnit("s"), metric.WithDescription("Duration of a lookup, the cache included."),
		metric.WithExplicitBucketBoundaries(.0001, .001, .005, .01, .05, .1, .5, 1, 5, 10))
	seconds, err6 := m.Int64Counter("kurir_dispatcher_second_copies",
		metric.WithDescription("Mails delivered although an earlier try may have delivered them as well; their events say so."))
	parked, err7 := m.Int64Counter("kurir_dispatcher_parked",
		metric.WithDescription("Mails of slow sites sent to the waiting room until their turn."))
	orphans, err8 := m.Int64Counter("kurir_dispatcher_orphans",
		metric.WithDescription("Mails taken over from a dispatcher that ended without a word and may have been sending them; their events say so."))
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8); err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	for _, lane := range lanes {
		seconds.Add(context.Background(), 0, metric.WithAttributes(attribute.String("lane", lane)))    //nolint:forbidigo // no call to trace
		orphans.Add(context.Background(), 0, metric.WithAttributes(attribute.String("lane", lane)))    //nolint:forbidigo // no call to trace
		parked.Add(context.Background(), 0, metric.WithAttributes(attribute.String("lane", lane)))     //nolint:forbidigo // no call to trace
		duplicates.Add(context.Background(), 0, metric.WithAttributes(attribute.String("lane", lane))) //nolint:forbidigo // no call to trace
		for _, kind := range []journal.Kind{journal.Attempted, journal.Deferred, journal.Held, journal.Delivered, journal.Bounced, journal.Expired} {
			attempts.Add(context.Background(), 0, labels(lane, kind, outcome.None)) //nolint:forbidigo // no call to trace
		}
	}
	made := &Metrics{
		attempts: attempts, final: final, took: took, duplicates: duplicates, lookups: lookups, seconds: seconds, orphans: orphans, parked: parked,
	}
	for i, result := range []string{"ok", "failed"} {
		made.looked[i] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("result", result)))}
	}
	return made, nil
}

func labels(lane string, kind journal.Kind, category outcome.Category) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("lane", lane), attribute.String("result", kind.String()), attribute.String("category", category.String()))
}

// label is a combination of labels, whose options are made once.
type label struct {
	lane     string
	kind     journal.Kind
	category outcome.Category
}

type options struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

func (m *Metrics) options(l label) *options {
	if known, ok := m.known.Load(l); ok {
		if o, ok := known.(*options); ok {
			return o
		}
	}
	o := &options{
		add: []metric.AddOption{labels(l.lane, l.kind, l.category)},
		record: []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(
			attribute.String("lane", l.lane), attribute.String("result", l.kind.String())))},
	}
	m.known.Store(l, o)
	return o
}

func (m *Metrics) attempt(ctx context.Context, lane string, o journal.Outcome, elapsed time.Duration) {
	options := m.options(label{lane, o.Kind, o.Verdict.Category})
	m.attempts.Add(ctx, 1, options.add...)
	m.took.Record(ctx, o.Took.Seconds(), options.record...)
	if o.Kind.Final() {
		m.final.Record(ctx, max(elapsed, 0).Seconds(), options.record...)
	}
}

func (m *Metrics) duplicate(ctx context.Context, lane string) {
	m.duplicates.Add(ctx, 1, metric.WithAttributes(attribute.String("lane", lane)))
}

func (m *Metrics) second(ctx context.Context, lane string) {
	m.seconds.Add(ctx, 1, metric.WithAttributes(attribute.String("lane", lane)))
}

func (m *Metrics) orphan(ctx context.Context, lane string) {
	m.orphans.Add(ctx, 1, metric.WithAttributes(attribute.String("lane", lane)))
}

func (m *Metrics) park(ctx context.Context, lane string) {
	m.parked.Add(ctx, 1, metric.WithAttributes(attribute.String("lane", lane)))
}

func (m *Metrics) lookup(ctx context.Context, took time.Duration, err error) {
	result := 0
	if err != nil {
		result = 1
	}
	m.lookups.Record(ctx, took.Seconds(), m.looked[result]...)
}
