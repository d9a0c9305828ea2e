package tracker_test

import (
	"context"
	"sync"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
)

// read returns the first n records of a topic, in no order.
func (w *world) read(topic string, n int) []custody.Record {
	w.t.Helper()
	parts, err := w.client.Partitions(w.t.Context(), topic)
	if err != nil {
		w.t.Fatalf("Partitions(%s) = %v", topic, err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	records := make(chan custody.Record)
	var readers sync.WaitGroup
	for p := range parts {
		readers.Go(func() {
			r := kafka.NewReader(kafka.ReaderConfig{
				Brokers: w.client.Bootstrap(), Dialer: w.client.Dialer(), Topic: topic, Partition: p, MaxWait: w.cfg.Ingest.MaxWait,
			})
			defer func() { _ = r.Close() }()
			for {
				m, err := r.FetchMessage(ctx)
				if err != nil {
					return
				}
				rec := custody.Record{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value}
				for _, h := range m.Headers {
					rec.Headers = append(rec.Headers, broker.Header{Key: h.Key, Value: h.Value})
				}
				select {
				case records <- rec:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	defer readers.Wait()
	defer cancel()
	out := make([]custody.Record, 0, n)
	for len(out) < n {
		select {
		case r := <-records:
			out = append(out, r)
		case <-w.t.Context().Done():
			w.t.Fatalf("%d of %d records of %s", len(out), n, topic)
		}
	}
	return out
}
