package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// Result is what a demonstration measured. Times are milliseconds from the
// SendOtp call to the receiving server's 250; a figure without a sample is 0.
type Result struct {
	Accepted      int           `json:"accepted"`
	Delivered     int           `json:"delivered"`
	Lost          int           `json:"lost"`
	Duplicates    int           `json:"duplicates"`
	BulkPerSecond float64       `json:"bulk_per_second"`
	OTPIdleP50    float64       `json:"otp_idle_p50_ms"`
	OTPIdleP99    float64       `json:"otp_idle_p99_ms"`
	OTPFloodP50   float64       `json:"otp_flood_p50_ms"`
	OTPFloodP99   float64       `json:"otp_flood_p99_ms"`
	OTPP99Ratio   float64       `json:"otp_p99_ratio"`
	Invoice       InvoiceResult `json:"invoice"`
	TraceID       string        `json:"trace_id"`
}

// InvoiceResult is the invoice's line in the ledger at the end.
type InvoiceResult struct {
	Opens  int64 `json:"opens"`
	Clicks int64 `json:"clicks"`
	Paid   bool  `json:"paid"`
}

// OK reports whether nothing was lost or sent twice.
func (r *Result) OK() bool { return r.Lost == 0 && r.Duplicates == 0 }

// JSON writes r as one object.
func (r *Result) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// Print writes r for people.
func (r *Result) Print(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-14s"+format+"\n", append([]any{name}, args...)...)
	}
	b.WriteString("\nSummary\n\n")
	line("mails", "%d accepted, %d delivered, %d lost, %d sent twice", r.Accepted, r.Delivered, r.Lost, r.Duplicates)
	line("OTP, idle", "p50 %.1f ms, p99 %.1f ms, from the call to the mail host's 250", r.OTPIdleP50, r.OTPIdleP99)
	if r.BulkPerSecond > 0 {
		line("OTP, flooded", "p50 %.1f ms, p99 %.1f ms: p99 is %.1f times the idle one", r.OTPFloodP50, r.OTPFloodP99, r.OTPP99Ratio)
		line("bulk", "%.0f mails/s, from the first accepted to the last delivered", r.BulkPerSecond)
	}
	paid := "not paid"
	if r.Invoice.Paid {
		paid = "paid"
	}
	line("invoice", "opened %s, clicked %s, %s", times(r.Invoice.Opens), times(r.Invoice.Clicks), paid)
	line("trace", "%s: the bill, from the call to the click", r.TraceID)
	_, err := io.WriteString(w, b.String())
	return err
}

// latencies sets the OTP figures from the two samples.
func (r *Result) latencies(idle, flood []time.Duration) {
	r.OTPIdleP50, r.OTPIdleP99 = quantile(idle, 0.50), quantile(idle, 0.99)
	r.OTPFloodP50, r.OTPFloodP99 = quantile(flood, 0.50), quantile(flood, 0.99)
	if r.OTPIdleP99 > 0 {
		r.OTPP99Ratio = math.Round(100*r.OTPFloodP99/r.OTPIdleP99) / 100
	}
}

// quantile is the nearest-rank quantile of ds in milliseconds, rounded to a
// hundredth; 0 without samples.
func quantile(ds []time.Duration, q float64) float64 {
	if len(ds) == 0 {
		return 0
	}
	sorted := slices.Clone(ds)
	slices.Sort(sorted)
	rank := max(int(math.Ceil(q*float64(len(sorted))))-1, 0)
	return math.Round(float64(sorted[rank].Microseconds())/10) / 100
}
