package router_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// BenchmarkSubmit is a submission from gRPC to the broker's acknowledgement,
// 64 callers at once, each with a key of its own, on SQLite and the embedded
// broker.
func BenchmarkSubmit(b *testing.B) {
	h := setup(b)
	var n atomic.Int64
	b.SetParallelism(32) // times GOMAXPROCS
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s := h.bill(strconv.FormatInt(n.Add(1), 10))
			s.Facts.Kind, s.Message = mailv1.Kind_KIND_OTP, make([]byte, 2048)
			if _, err := h.api.Submit(b.Context(), &routerv1.SubmitRequest{Submission: s}); err != nil {
				b.Errorf("Submit() = %v", err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "admissions/s")
}
