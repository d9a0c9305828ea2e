package gate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// meters are what a gate measures; the zero value measures nothing.
type meters struct {
	wait   metric.Float64Histogram
	labels map[*class][]metric.RecordOption
}

// Measure reports to meter, by lane: steps waiting, steps entered, and how long
// each waited. Call it at most once, before the gate is used. The error names
// the instrument that could not be made.
func (g *Gate) Measure(meter metric.Meter) error {
	wait, err1 := meter.Float64Histogram("kurir_gate_wait_seconds", metric.WithUnit("s"),
		metric.WithDescription("How long heavy steps waited for a processor, by lane."),
		metric.WithExplicitBucketBoundaries(.0001, .0005, .001, .002, .005, .01, .02, .05, .1, .5, 1, 5))
	waiting, err2 := meter.Int64ObservableGauge("kurir_gate_waiting", metric.WithDescription("Heavy steps that wait, by lane."))
	entered, err3 := meter.Int64ObservableCounter("kurir_gate_entered", metric.WithDescription("Heavy steps begun, by lane."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("making metrics: %w", err)
	}
	labels, observed := map[*class][]metric.RecordOption{}, map[*class][]metric.ObserveOption{}
	for _, c := range g.classes {
		set := metric.WithAttributeSet(attribute.NewSet(attribute.String("lane", c.name)))
		labels[c], observed[c] = []metric.RecordOption{set}, []metric.ObserveOption{set}
	}
	if _, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, c := range g.classes {
			o.ObserveInt64(waiting, int64(c.len()), observed[c]...)
			o.ObserveInt64(entered, c.entered, observed[c]...)
		}
		return nil
	}, waiting, entered); err != nil {
		return fmt.Errorf("making metrics: %w", err)
	}
	g.meters = meters{wait: wait, labels: labels}
	return nil
}

func (m *meters) waited(ctx context.Context, c *class, d time.Duration) {
	if m.wait != nil {
		m.wait.Record(ctx, d.Seconds(), m.labels[c]...)
	}
}
