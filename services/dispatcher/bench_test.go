package dispatcher_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/dispatcher"
)

// BenchmarkDeliver is the rate at which mail of 2 KB that lies on the bulk
// lane reaches a local sink, one destination; broker, dispatcher and sink
// share the machine.
func BenchmarkDeliver(b *testing.B) {
	for _, signed := range []bool{false, true} {
		b.Run(fmt.Sprintf("dkim=%v", signed), func(b *testing.B) {
			y := build(b)
			if signed {
				y.cfg.DKIM.Dir = b.TempDir()
				y.cfg.DKIM.Domains = []dispatcher.DKIMDomain{{Domain: "example.com", SelectorRSA: "r", SelectorEd25519: "e"}}
			}
			var taken atomic.Int64
			done := make(chan struct{})
			y.host("mx.example.org", mxsim.HostConfig{Received: func(mxsim.Received) {
				if taken.Add(1) == int64(b.N) {
					close(done)
				}
			}})
			y.dns.MX("example.org", "mx.example.org")
			body := append([]byte("From: a@example.com\r\nTo: b@example.org\r\nSubject: hi\r\n\r\n"), bytes.Repeat([]byte("0123456789 abcdefghijklmnopqrstuvwxyz 0123456789 abcdefgh\r\n"), 33)...)
			fill(b, y, b.N, body)
			b.SetBytes(int64(len(body)))
			b.ResetTimer()
			y.start()
			<-done
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
			y.settled(lane.Bulk, int64(b.N))
		})
	}
}

func fill(b *testing.B, y *yard, n int, body []byte) {
	b.Helper()
	var failed atomic.Int64
	for range n {
		e := y.envelope(lane.Bulk, "ana@example.org")
		e.Content = &eventsv1.MailEnvelope_Message{Message: body}
		m, err := y.codec.Mail(e)
		if err != nil {
			b.Fatal(err)
		}
		for y.producer.Enqueue(m, func(_ broker.Position, err error) {
			if err != nil {
				failed.Add(1)
			}
		}) != nil {
			if _, err := y.producer.Produce(b.Context(), m); err == nil {
				break
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := y.producer.Part().Stop(ctx); err != nil || failed.Load() > 0 {
		b.Fatalf("filling the lane: %v, %d records failed", err, failed.Load())
	}
}
