package ingest

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"kurir.dev/services/tracker/internal/mail"
)

// meters are what ingestion counts.
type meters struct {
	events   metric.Int64Counter
	repeated metric.Int64Counter
	poison   metric.Int64Counter
	late     metric.Int64Counter
	gaps     metric.Int64Counter
	took     metric.Float64Histogram
}

func newMeters(in *Ingester) *meters {
	m := in.Telemetry.Meter("kurir.dev/services/tracker/ingest")
	// Instruments with constant, valid names do not fail.
	counter := func(name, what string) metric.Int64Counter {
		c, _ := m.Int64Counter(name, metric.WithDescription(what))
		return c
	}
	out := &meters{
		events:   counter("kurir_tracker_events", "Events stored, by type."),
		repeated: counter("kurir_tracker_repeated_events", "Events that came again and did not count."),
		poison:   counter("kurir_tracker_poison_records", "Records that went to the dead topic."),
		late:     counter("kurir_tracker_duplicate_finals", "Final events of mails that were settled before."),
		gaps:     counter("kurir_tracker_offset_faults", "Stored offsets that lay outside the log."),
	}
	out.took, _ = m.Float64Histogram("kurir_tracker_ingest_seconds", metric.WithUnit("s"),
		metric.WithDescription("From a batch to its commit."),
		metric.WithExplicitBucketBoundaries(.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5))
	records, _ := m.Int64ObservableGauge("kurir_tracker_ingest_lag_records",
		metric.WithDescription("Records of this replica's partitions that are not stored yet."))
	seconds, _ := m.Float64ObservableGauge("kurir_tracker_ingest_lag_seconds", metric.WithUnit("s"),
		metric.WithDescription("Age of the newest stored record of the partition furthest behind."))
	_, _ = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		var total int64
		var oldest float64
		in.mu.Lock()
		for _, r := range in.readers {
			n, age := r.lag(in.Now())
			total, oldest = total+n, max(oldest, age.Seconds())
		}
		in.mu.Unlock()
		o.ObserveInt64(records, total)
		o.ObserveFloat64(seconds, oldest)
		return nil
	}, records, seconds)
	zero := make(map[mail.Type]int64)
	for t := range mail.Types {
		if t > 0 {
			zero[mail.Type(t)] = 0
		}
	}
	out.stored(context.Background(), zero) //nolint:forbidigo // counters begin at 0, outside of any call
	for _, c := range []metric.Int64Counter{out.repeated, out.poison, out.late, out.gaps} {
		c.Add(context.Background(), 0) //nolint:forbidigo // as above
	}
	return out
}

func (m *meters) stored(ctx context.Context, counts map[mail.Type]int64) {
	for t, n := range counts {
		m.events.Add(ctx, n, metric.WithAttributes(attribute.String("type", strings.ToLower(t.String()))))
	}
}
