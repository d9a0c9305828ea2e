package embedded

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

// Measure has meter tell of the broker, as long as it lives:
//
//	kurir_embedded_offline_partitions  take no records until the broker starts again
//	kurir_embedded_free_bytes          of its disk, when it was last looked at
func (e *Broker) Measure(meter metric.Meter) error {
	offline, err1 := meter.Int64ObservableGauge("kurir_embedded_offline_partitions",
		metric.WithDescription("Partitions that take no records until the embedded broker starts again, because a sync to disk failed."))
	free, err2 := meter.Int64ObservableGauge("kurir_embedded_free_bytes", metric.WithUnit("By"),
		metric.WithDescription("Free bytes of the embedded broker's disk when it was last looked at."))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("making metrics: %w", err)
	}
	if _, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(offline, int64(len(e.topics.Failed())))
		o.ObserveInt64(free, e.guard.free.Load())
		return nil
	}, offline, free); err != nil {
		return fmt.Errorf("making metrics: %w", err)
	}
	return nil
}
