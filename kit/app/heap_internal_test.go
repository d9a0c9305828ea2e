package app

import "testing"

func TestPercent(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{
		0: growth, 1: growth, 30 << 20: growth, roomy / 3: growth,
		roomy / 2: 100, roomy * 10 / 15: least, roomy: least, 1 << 40: least, 1 << 63: least,
	} {
		if got := percent(live); got != want {
			t.Errorf("percent(%d) = %d, want %d", live, got, want)
		}
	}
	for live := uint64(1 << 20); live < roomy*2/3; live += 1 << 20 {
		if peak := live + live*uint64(percent(live))/100; peak > roomy {
			t.Errorf("a heap of which %d bytes live grows to %d, beyond %d", live, peak, roomy)
		}
	}
}
