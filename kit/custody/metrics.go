package custody

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"kurir.dev/kit/telemetry"
)

// meters are what a consumer counts.
type meters struct {
	records metric.Int64Counter
	trouble metric.Int64Counter
	topic   attribute.KeyValue
	results [results]metric.AddOption // made once: there is one for each record
}

// result is what happened to a record.
type result int

const (
	handed result = iota
	completed
	abandoned
	results
)

func newMeters(t *telemetry.Telemetry, c *Consumer) *meters {
	m := t.Meter("kurir.dev/kit/custody")
	topic := attribute.String("topic", c.cfg.Topic)
	// Instruments with constant, valid names do not fail.
	records, _ := m.Int64Counter("kurir_custody_records",
		metric.WithDescription("Records by what happened: handed out, completed, abandoned."))
	trouble, _ := m.Int64Counter("kurir_custody_trouble",
		metric.WithDescription("Leases lost, commits failed, readers stalled, logs that do not fit their commits (broken), pauses for full commit metadata (full)."))
	_, _ = m.Int64ObservableGauge("kurir_custody_outstanding_records",
		metric.WithDescription("Records handed out and not done."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			var n int64
			for _, s := range c.Stats() {
				n += int64(s.Outstanding)
			}
			o.Observe(n, metric.WithAttributes(topic))
			return nil
		}))
	_, _ = m.Int64ObservableGauge("kurir_custody_behind_records",
		metric.WithDescription("From the watermark to the partition's end, as last seen."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for _, s := range c.Stats() {
				o.Observe(s.Head-s.Watermark, metric.WithAttributes(topic, attribute.Int("partition", s.Partition)))
			}
			return nil
		}))
	_, _ = m.Int64ObservableGauge("kurir_custody_metadata_bytes", metric.WithUnit("By"),
		metric.WithDescription("Length of the commit metadata by partition; 4000 is the most."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for _, s := range c.Stats() {
				o.Observe(int64(s.Metadata), metric.WithAttributes(topic, attribute.Int("partition", s.Partition)))
			}
			return nil
		}))
	all := &meters{records: records, trouble: trouble, topic: topic}
	for r, name := range [results]string{"handed", "completed", "abandoned"} {
		all.results[r] = metric.WithAttributeSet(attribute.NewSet(topic, attribute.String("result", name)))
	}
	for _, kind := range []string{"lease_lost", "commit_failed", "stalled", "broken", "full"} {
		trouble.Add(context.Background(), 0, metric.WithAttributes(topic, attribute.String("kind", kind))) //nolint:forbidigo // nobody's call
	}
	return all
}

func (m *meters) record(ctx context.Context, r result) { m.records.Add(ctx, 1, m.results[r]) }

func (m *meters) count(ctx context.Context, kind string) {
	m.trouble.Add(ctx, 1, metric.WithAttributes(m.topic, attribute.String("kind", kind)))
}
func (m *meters) lost(ctx context.Context)        { m.count(ctx, "lease_lost") }
func (m *meters) uncommitted(ctx context.Context) { m.count(ctx, "commit_failed") }
func (m *meters) stalled(ctx context.Context)     { m.count(ctx, "stalled") }
func (m *meters) broken(ctx context.Context)      { m.count(ctx, "broken") }
func (m *meters) full(ctx context.Context)        { m.count(ctx, "full") }
