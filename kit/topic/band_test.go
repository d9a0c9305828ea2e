package topic_test

import (
	"testing"

	"kurir.dev/kit/topic"
)

// Bands are disjoint, cover the topic, and are as large as each other but for
// one partition that the ordinary band may have more.
func TestBands(t *testing.T) {
	t.Parallel()
	for partitions := 2; partitions <= 65; partitions++ {
		var seen []topic.Band
		for _, b := range []topic.Band{topic.Ordinary, topic.Overflow} {
			first, n := b.Of(partitions)
			if first != len(seen) {
				t.Fatalf("%v.Of(%d) begins at %d, want %d", b, partitions, first, len(seen))
			}
			for range n {
				seen = append(seen, b)
			}
		}
		if len(seen) != partitions {
			t.Fatalf("bands of %d partitions have %d", partitions, len(seen))
		}
		for p, want := range seen {
			if got := topic.BandOf(p, partitions); got != want {
				t.Errorf("BandOf(%d, %d) = %v, want %v", p, partitions, got, want)
			}
		}
		if _, n := topic.Overflow.Of(partitions); n != partitions/2 {
			t.Errorf("overflow band of %d partitions has %d, want %d", partitions, n, partitions/2)
		}
	}
}

func TestBandsOfOnePartition(t *testing.T) {
	t.Parallel()
	for _, b := range []topic.Band{topic.Ordinary, topic.Overflow} {
		if first, n := b.Of(1); first != 0 || n != 1 {
			t.Errorf("%v.Of(1) = %d, %d, want 0, 1", b, first, n)
		}
	}
	if got := topic.BandOf(0, 1); got != topic.Ordinary {
		t.Errorf("BandOf(0, 1) = %v, want %v", got, topic.Ordinary)
	}
}
