package store_test

import (
	"fmt"
	"testing"
	"time"

	"kurir.dev/kit/dbtest"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
)

// BenchmarkIngest stores the three events of a plain mail, in batches of 1000
// records from four partitions; one operation is one event.
func BenchmarkIngest(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		b.Run(name, func(b *testing.B) {
			s := open(b, url(b))
			body := make([]byte, 300)
			var offsets [4]int64
			types := [...]mail.Type{mail.Accepted, mail.Committing, mail.DeliveredTo}
			start := time.Unix(1_800_000_000, 0)
			batch := make([]store.Record, 0, 1000)
			for n := 0; b.Loop(); n++ {
				id := fmt.Sprintf("01900000-0000-7000-8000-%012d", n/3)
				t := types[n%3]
				part := n / 3 % 4
				at := start.Add(time.Duration(n) * time.Millisecond)
				batch = append(batch, store.Record{Topic: "t", Partition: part, Offset: offsets[part], Event: &mail.Event{
					ID: fmt.Sprintf("%s/1/0/%s", id, t), Type: t, MailID: id, Tenant: "acme", Lane: "bulk", Attempt: 1, At: at,
					Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Body: body,
					Facts: mail.Facts{
						Kind: mail.Generic, Template: "news", Version: "3", Campaign: "winter",
						Recipient: id + "@example.test", Domain: "example.test", Body: body,
					},
				}})
				offsets[part]++
				if len(batch) < cap(batch) {
					continue
				}
				if _, err := s.Ingest(b.Context(), batch, start, nil); err != nil {
					b.Fatalf("Ingest = %v, want no error", err)
				}
				batch = batch[:0]
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
