package dispatcher_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/mxsim"
	"kurir.dev/kit/topic"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/dispatcher"
)

// BenchmarkDeliver is the rate at which mail of 10 KB that lies on the bulk
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
			body := append([]byte("From: a@example.com\r\nTo: b@example.org\r\nSubject: hi\r\n\r\n"), bytes.Repeat([]byte("0123456789 abcdefghijklmnopqrstuvwxyz 0123456789 abcdefgh\r\n"), 170)...)
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
		m, err := y.mail(e, topic.Ordinary)
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

// BenchmarkCodeInFlood is how long a one-time password takes from its record's
// acknowledgement to the sink, idle and while bulk mail is drained flat out to
// the same host.
func BenchmarkCodeInFlood(b *testing.B) {
	for _, flood := range []int{0, 40000} {
		b.Run(fmt.Sprintf("bulk=%d", flood), func(b *testing.B) {
			y := build(b)
			arrived := make(chan time.Time, 1)
			y.host("mx.example.org", mxsim.HostConfig{Received: func(r mxsim.Received) {
				if r.To == "otp@example.org" {
					arrived <- r.At
				}
			}})
			y.dns.MX("example.org", "mx.example.org")
			if flood > 0 {
				fill(b, y, flood, []byte("From: a@example.com\r\nSubject: hi\r\n\r\n"+strings.Repeat("0123456789 abcdefgh\r\n", 90)))
				y.producer = broker.NewProducer(y.client, y.tel)
			}
			y.start()
			y.send(lane.OTP, "otp@example.org")
			<-arrived // warm
			var took []time.Duration
			for b.Loop() {
				y.send(lane.OTP, "otp@example.org")
				begin := time.Now()
				took = append(took, max((<-arrived).Sub(begin), 0))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			left, err := y.client.Lag(context.Background(), "kurir.dispatcher.bulk", y.client.Topics().Lane(lane.Bulk))
			if err == nil {
				b.ReportMetric(float64(left[y.client.Topics().Lane(lane.Bulk)].Depth), "bulk-left")
			}
			if err := y.producer.Part().Stop(context.Background()); err != nil {
				b.Error(err)
			}
		})
	}
}
