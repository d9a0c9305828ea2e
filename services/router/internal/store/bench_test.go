package store_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"kurir.dev/kit/dbtest"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/mail"
)

// BenchmarkAdmit is the hot path of the store, 64 callers at once: take a key,
// then confirm it.
func BenchmarkAdmit(b *testing.B) {
	for name, url := range map[string]func(t testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		b.Run(name, func(b *testing.B) {
			s := open(b, url(b))
			now := time.Now()
			var n atomic.Int64
			b.SetParallelism(32) // times GOMAXPROCS
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id := fmt.Sprintf("01919999-0000-7000-8000-%012d", n.Add(1))
					e := admission.Entry{
						Key: admission.Key{Tenant: "bench", Value: id}, Fingerprint: "12345678901234567890123456789012",
						Recipient: mail.KeyOf("bench", id), Kind: mail.KindOTP,
						Receipt: admission.Receipt{MailID: id, Lane: "otp", AcceptedAt: now, ExpiresAt: now.Add(time.Minute)},
					}
					if v, err := s.Admit(b.Context(), e); err != nil || v.Prior != nil {
						b.Errorf("Admit() = %+v, %v", v, err)
						return
					}
					if err := s.Confirm(b.Context(), []admission.Key{e.Key}); err != nil {
						b.Errorf("Confirm() = %v", err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "admissions/s")
		})
	}
}
