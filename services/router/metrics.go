package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/telemetry"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/mail"
)

// meters are the router's metrics.
type meters struct {
	submissions metric.Int64Counter
	latency     metric.Float64Histogram
	departures  metric.Int64Counter
}

// newMeters makes them; counts tells how many mails of each lane wait.
func newMeters(
	ctx context.Context, t *telemetry.Telemetry, lanes lane.Set,
	counts func(ctx context.Context) (map[string]int64, error),
) (*meters, error) {
	meter := t.Meter("kurir.dev/services/router")
	m := &meters{}
	var errs [4]error
	m.submissions, errs[0] = meter.Int64Counter("kurir_router_submissions",
		metric.WithDescription("Submissions by lane and how they ended."))
	m.latency, errs[1] = meter.Float64Histogram("kurir_router_admission", metric.WithUnit("s"),
		metric.WithDescription("Time from a submission to its answer."))
	m.departures, errs[2] = meter.Int64Counter("kurir_router_departures",
		metric.WithDescription("Mail that left the waiting room, by lane and way."))
	_, errs[3] = meter.Int64ObservableGauge("kurir_router_waiting",
		metric.WithDescription("Mail in the waiting room by lane."),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			n, err := counts(ctx)
			if err != nil {
				return err
			}
			for _, l := range lanes.Names() {
				o.Observe(n[l], metric.WithAttributes(attribute.String("lane", l)))
			}
			return nil
		}))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("making the router's metrics: %w", err)
	}
	for _, l := range lanes.Names() {
		m.submissions.Add(ctx, 0, labels(l, "accepted"))
		m.departures.Add(ctx, 0, metric.WithAttributes(attribute.String("lane", l), attribute.String("way", "released")))
	}
	return m, nil
}

// submitted counts a submission that was answered.
func (m *meters) submitted(ctx context.Context, k mail.Kind, r admission.Receipt, err error, took time.Duration) {
	name := r.Lane
	if err != nil {
		name = k.Lane()
	}
	set := labels(name, result(r, err))
	m.submissions.Add(ctx, 1, set)
	m.latency.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("lane", name)))
}

// left counts a mail that left the waiting room.
func (m *meters) left(ctx context.Context, lane, how string) {
	m.departures.Add(ctx, 1, metric.WithAttributes(attribute.String("lane", lane), attribute.String("way", how)))
}

// result is how a submission ended, as a label.
func result(r admission.Receipt, err error) string {
	var f *fault.Error
	switch {
	case err == nil && r.Replayed:
		return "replayed"
	case err == nil && r.Scheduled():
		return "scheduled"
	case err == nil:
		return "accepted"
	case errors.As(err, &f):
		return strings.ToLower(strings.TrimPrefix(f.Reason.String(), "REASON_"))
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "abandoned"
	}
	return strings.ToLower(strings.TrimPrefix(faultv1.Reason_REASON_INTERNAL.String(), "REASON_"))
}

func labels(lane, result string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("lane", lane), attribute.String("result", result))
}
