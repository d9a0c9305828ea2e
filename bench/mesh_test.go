package bench_test

import (
	"testing"

	"kurir.dev/cmd/kurir/demo"
)

// BenchmarkFlood sends 20,000 bulk mails with OTPs all through them, on the
// embedded broker with fsync, to a server on the same machine, 1 KB each,
// without DKIM and with connection reuse.
func BenchmarkFlood(b *testing.B) {
	for range b.N {
		r, err := demo.Run(b.Context(), demo.Options{Bulk: 20_000, OTP: 200})
		if err != nil {
			b.Fatal(err)
		}
		if !r.OK() {
			b.Fatalf("%d mails lost, %d sent twice", r.Lost, r.Duplicates)
		}
		b.ReportMetric(r.BulkPerSecond, "mails/s")
		b.ReportMetric(r.OTPIdleP99, "otp-idle-p99-ms")
		b.ReportMetric(r.OTPFloodP99, "otp-flood-p99-ms")
		b.ReportMetric(r.OTPP99Ratio, "otp-p99-ratio")
	}
}
