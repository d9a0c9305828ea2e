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
	"kurir.dev/services/router/internal/rpcapi"
)

// meters are the router's metrics.
type meters struct {
	submissions metric.Int64Counter
	latency     metric.Float64Histogram
	departures  metric.Int64Counter
	unreadable  metric.Int64Counter
	pending     metric.Int64Counter
}

// newMeters makes them; counts tells how many mails of each lane wait, last how
// the lanes did when they were last looked at, crowded how many tenants of each
// are crowded.
func newMeters(
	ctx context.Context, t *telemetry.Telemetry, lanes lane.Set,
	counts func(ctx context.Context) (map[string]int64, error), last func() map[string]rpcapi.LaneStat, crowded func() map[string]int,
) (*meters, error) {
	meter := t.Meter("kurir.dev/services/router")
	m := &meters{}
	var errs [8]error
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
	m.unreadable, errs[4] = meter.Int64Counter("kurir_router_unreadable",
		metric.WithDescription("Times a waiting mail could not be opened, by lane and what followed: retried, expired. Above 0, a key is missing."))
	m.pending, errs[5] = meter.Int64Counter("kurir_router_pending_keys",
		metric.WithDescription("Keys that were left pending and looked into, by what was found: there, nowhere, untold (may go out twice)."))
	errs[6] = laneGauges(meter, lanes.Names(), last)
	_, errs[7] = meter.Int64ObservableGauge("kurir_router_crowded",
		metric.WithDescription("Tenants whose next mail goes into the overflow band of the lane."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for l, n := range crowded() {
				o.Observe(int64(n), metric.WithAttributes(attribute.String("lane", l)))
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

// unread counts a mail that could not be opened.
func (m *meters) unread(ctx context.Context, lane string, ended bool) {
	what := "retried"
	if ended {
		what = "expired"
	}
	m.unreadable.Add(ctx, 1, metric.WithAttributes(attribute.String("lane", lane), attribute.String("what", what)))
}

// found counts a pending key that was looked into.
func (m *meters) found(ctx context.Context, w admission.Whereabouts) {
	m.pending.Add(ctx, 1, metric.WithAttributes(attribute.String("found", w.String())))
}

// laneGauges are the figures of ListLanes as metrics; they ask nobody.
func laneGauges(meter metric.Meter, lanes []string, last func() map[string]rpcapi.LaneStat) error {
	var errs []error
	for _, g := range []struct {
		name, unit, text string
		of               func(s rpcapi.LaneStat) float64
	}{
		{"kurir_router_lane_depth", "", "Records on the lane not yet done, in flight ones counted.", func(s rpcapi.LaneStat) float64 { return float64(s.Depth) }},
		{"kurir_router_lane_in_flight", "", "Records the dispatchers have taken and not done.", func(s rpcapi.LaneStat) float64 { return float64(s.InFlight) }},
		{"kurir_router_lane_accepted_rate", "1/s", "Records put onto the lane per second.", func(s rpcapi.LaneStat) float64 { return s.Accepted }},
		{"kurir_router_lane_settled_rate", "1/s", "Records of the lane done per second.", func(s rpcapi.LaneStat) float64 { return s.Settled }},
		{"kurir_router_lane_oldest_age", "s", "Age of the oldest record not yet done.", func(s rpcapi.LaneStat) float64 {
			if s.Oldest.IsZero() {
				return 0
			}
			return max(0, time.Since(s.Oldest).Seconds())
		}},
	} {
		_, err := meter.Float64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.text),
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
				stats := last()
				for _, l := range lanes {
					if s, ok := stats[l]; ok {
						o.Observe(g.of(s), metric.WithAttributes(attribute.String("lane", l)))
					}
				}
				return nil
			}))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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
