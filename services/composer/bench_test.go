package composer_test

import (
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	"kurir.dev/services/composer"
)

// BenchmarkSendBatch is one batch of bulk mail of 10 KB each, with content of
// their own, from the caller's stream to a router that takes everything. cpu-s/k
// counts the whole process, caller and fake router as well, per 1,000 mails.
func BenchmarkSendBatch(b *testing.B) {
	x := setup(b, &fakeRouter{forget: true}, func(cfg *composer.Config) { cfg.BatchInFlight = 256 })
	html := "<p>" + strings.Repeat("Kabar terbaru untuk pelanggan setia kami. ", 170) + "</p>"
	text := strings.Repeat("Kabar terbaru untuk pelanggan setia kami.\n", 55)
	stream, err := x.client.SendBatch(b.Context())
	if err != nil {
		b.Fatalf("SendBatch() = %v", err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := processor()
	var sender sync.WaitGroup
	sender.Go(func() {
		for i := range b.N {
			req := &mailv1.SendBatchRequest{Item: &mailv1.SendBatchRequest_Mail{Mail: &mailv1.SendRequest{
				IdempotencyKey: strconv.Itoa(i),
				To:             &mailv1.Address{Email: "sari@example.co.id", DisplayName: "Sari"},
				Content:        &mailv1.Content{Subject: "Kabar terbaru", Text: text, Html: html},
			}}}
			if err := stream.Send(req); err != nil {
				b.Errorf("Send() = %v", err)
				return
			}
		}
		if err := stream.CloseSend(); err != nil {
			b.Errorf("CloseSend() = %v", err)
		}
	})
	for range b.N {
		resp, err := stream.Recv()
		if err != nil || resp.GetReceipt() == nil {
			b.Fatalf("Recv() = %v, %v, want a receipt", resp, err)
		}
	}
	sender.Wait()
	b.StopTimer()
	b.ReportMetric((processor()-before).Seconds()*1000/float64(b.N), "cpu-s/k")
}

// processor is the processor time of the process so far.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
