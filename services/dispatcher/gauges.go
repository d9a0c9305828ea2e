package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"kurir.dev/services/dispatcher/internal/deliver"
)

// gauges has meter ask the engine how it stands, by lane where that differs.
func gauges(meter metric.Meter, engine *deliver.Engine, lanes []string, now func() time.Time) error {
	held, err1 := meter.Int64ObservableGauge("kurir_dispatcher_held", metric.WithDescription("Mails in memory, taken over and not done, by lane."))
	oldest, err2 := meter.Float64ObservableGauge("kurir_dispatcher_oldest", metric.WithUnit("s"),
		metric.WithDescription("Since when the oldest of them is in custody, by lane; 0 for none."))
	flying, err3 := meter.Int64ObservableGauge("kurir_dispatcher_in_flight", metric.WithDescription("Deliveries under way, by lane."))
	reserved, err4 := meter.Int64ObservableGauge("kurir_dispatcher_reserved_in_use",
		metric.WithDescription("Connections in use that are reserved for the highest lane."))
	open, err5 := meter.Int64ObservableGauge("kurir_dispatcher_connections", metric.WithDescription("Open SMTP sessions."))
	members, err6 := meter.Int64ObservableGauge("kurir_dispatcher_members", metric.WithDescription("Live dispatchers, which share what sites may have."))
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return fmt.Errorf("making metrics: %w", err)
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		load := engine.Sites().Load()
		for _, name := range lanes {
			lane, stats, age := metric.WithAttributes(attribute.String("lane", name)), engine.Stats(name), 0.0
			if !stats.Oldest.IsZero() {
				age = max(now().Sub(stats.Oldest).Seconds(), 0)
			}
			o.ObserveInt64(held, int64(stats.Held), lane)
			o.ObserveFloat64(oldest, age, lane)
			o.ObserveInt64(flying, int64(load.InFlight[name]), lane)
		}
		o.ObserveInt64(reserved, int64(load.Reserved))
		o.ObserveInt64(open, int64(engine.Sites().Open()))
		o.ObserveInt64(members, int64(engine.Sites().Members()))
		return nil
	}, held, oldest, flying, reserved, open, members)
	if err != nil {
		return fmt.Errorf("making metrics: %w", err)
	}
	return nil
}
