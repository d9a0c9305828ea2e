package broker

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"kurir.dev/kit/telemetry"
)

// producerMeters are what a producer counts.
type producerMeters struct {
	records metric.Int64Counter
	latency metric.Float64Histogram
}

func newProducerMeters(t *telemetry.Telemetry, p *Producer) *producerMeters {
	m := t.Meter("kurir.dev/kit/broker")
	// Instruments with constant, valid names do not fail.
	records, _ := m.Int64Counter("kurir_broker_produced_records",
		metric.WithDescription("Records by what became of them: acked, failed (outcome unknown), refused (queue full)."))
	latency, _ := m.Float64Histogram("kurir_broker_produce_seconds", metric.WithUnit("s"),
		metric.WithDescription("From request to acknowledgement of one batch."))
	_, _ = m.Int64ObservableGauge("kurir_broker_queued_records",
		metric.WithDescription("Records queued or unacknowledged."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			o.Observe(int64(p.records))
			return nil
		}))
	return &producerMeters{records: records, latency: latency}
}

func (m *producerMeters) count(ctx context.Context, result string, n int) {
	m.records.Add(ctx, int64(n), metric.WithAttributes(attribute.String("result", result)))
}

func (m *producerMeters) acked(ctx context.Context, n int, took time.Duration) {
	m.count(ctx, "acked", n)
	m.latency.Record(ctx, took.Seconds())
}

func (m *producerMeters) failed(ctx context.Context, n int) { m.count(ctx, "failed", n) }
func (m *producerMeters) refused(ctx context.Context)       { m.count(ctx, "refused", 1) }
