package meter_test

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/bench/internal/meter"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i // 1 to 100, the wrong way round
	}
	for _, c := range []struct {
		samples []int
		q       float64
		want    int
	}{
		{nil, 0.5, 0},
		{[]int{7}, 0, 7},
		{[]int{7}, 1, 7},
		{[]int{3, 1, 2}, 0.5, 2},
		{[]int{4, 3, 1, 2}, 0.5, 2},
		{hundred, 0.50, 50},
		{hundred, 0.99, 99},
		{hundred, 0.991, 100},
		{hundred, 1, 100},
	} {
		if got := meter.Quantile(c.samples, c.q); got != c.want {
			t.Errorf("Quantile(%v, %v) = %d, want %d", c.samples, c.q, got, c.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("Quantile sorted the caller's samples")
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		samples []float64
		want    float64
	}{{nil, 0}, {[]float64{5}, 5}, {[]float64{9, 1, 5}, 5}, {[]float64{1, 2, 30, 4}, 3}} {
		if got := meter.Median(c.samples); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.samples, got, c.want)
		}
	}
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	if got := meter.Summarise(nil); got != (meter.Latency{}) {
		t.Errorf("Summarise(nil) = %v, want zero", got)
	}
	samples := make([]time.Duration, 200)
	for i := range samples {
		samples[i] = time.Duration(i+1) * time.Millisecond
	}
	want := meter.Latency{N: 200, P50: 100 * time.Millisecond, P99: 198 * time.Millisecond, Max: 200 * time.Millisecond}
	if diff := cmp.Diff(want, meter.Summarise(samples)); diff != "" {
		t.Errorf("Summarise differs (-want +got):\n%s", diff)
	}
}

func TestRatio(t *testing.T) {
	t.Parallel()
	if got := meter.Ratio(3.0, 2.0); got != 1.5 {
		t.Errorf("Ratio(3, 2) = %v, want 1.5", got)
	}
	if got := meter.Ratio(3*time.Second, 0); got != 0 {
		t.Errorf("Ratio(3 s, 0) = %v, want 0", got)
	}
}

func TestParseCPU(t *testing.T) {
	t.Parallel()
	const rest = " S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0"
	for _, stat := range []string{"42 (kurir)" + rest, "42 (a ) b (c)" + rest} {
		if got, err := meter.ParseCPU(stat); err != nil || got != 2*time.Second {
			t.Errorf("ParseCPU(%q) = %v, %v, want 2s", stat, got, err)
		}
	}
	for _, stat := range []string{"", "42 kurir S", "42 (kurir) S 1 2", "42 (kurir) S 1 2 3 4 5 6 7 8 9 10 x 50"} {
		if got, err := meter.ParseCPU(stat); err == nil {
			t.Errorf("ParseCPU(%q) = %v, want an error", stat, got)
		}
	}
}

func TestParsePeak(t *testing.T) {
	t.Parallel()
	const status = "Name:\tkurir\nVmPeak:\t  900 kB\nVmHWM:\t    8192 kB\nVmRSS:\t 4096 kB\n"
	if got, err := meter.ParsePeak(status); err != nil || got != 8<<20 {
		t.Errorf("ParsePeak = %d, %v, want %d", got, err, 8<<20)
	}
	for _, status := range []string{"", "VmHWM:\t8192\n", "VmHWM:\tx kB\n"} {
		if got, err := meter.ParsePeak(status); err == nil {
			t.Errorf("ParsePeak(%q) = %d, want an error", status, got)
		}
	}
}

func TestProcess(t *testing.T) {
	t.Parallel()
	u, err := meter.Process(os.Getpid())
	if err != nil || u.PeakRSS < 1<<20 {
		t.Errorf("Process of this test = %+v, %v, want a megabyte or more", u, err)
	}
	if _, err := meter.Process(-1); err == nil {
		t.Error("Process(-1) = nil, want an error")
	}
}
