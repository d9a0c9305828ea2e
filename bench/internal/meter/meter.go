// Package meter is the arithmetic of the benchmark: quantiles and medians of
// samples, and what the kernel says a process has used.
package meter

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Quantile is the nearest-rank quantile of samples, q within 0 and 1: the
// smallest sample that at least the share q of them does not exceed. It is
// zero without samples.
func Quantile[T cmp.Ordered](samples []T, q float64) T {
	var none T
	if len(samples) == 0 {
		return none
	}
	return rank(slices.Sorted(slices.Values(samples)), q)
}

// rank is the nearest-rank quantile of samples that are sorted.
func rank[T any](sorted []T, q float64) T {
	return sorted[min(max(int(math.Ceil(q*float64(len(sorted))))-1, 0), len(sorted)-1)]
}

// Median is the middle of samples, of two middles their mean; 0 without any.
func Median(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// Latency sums samples of a time up.
type Latency struct {
	N             int
	P50, P99, Max time.Duration
}

// Summarise sums samples up.
func Summarise(samples []time.Duration) Latency {
	if len(samples) == 0 {
		return Latency{}
	}
	sorted := slices.Sorted(slices.Values(samples))
	return Latency{N: len(sorted), P50: rank(sorted, 0.50), P99: rank(sorted, 0.99), Max: sorted[len(sorted)-1]}
}

// Ratio is a to b; 0 when there is no b.
func Ratio[T ~int64 | ~float64](a, b T) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// Milliseconds is d with its fraction.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
