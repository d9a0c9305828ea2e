package custody

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"kurir.dev/kit/topic"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	w := newWindow(2, 100)
	ctx, cancel := context.WithCancel(t.Context())
	if err := w.acquire(ctx, topic.Ordinary, 1000); err != nil {
		t.Fatalf("acquire() of one oversized record = %v, want nil", err)
	}
	got := make(chan error, 1)
	go func() { got <- w.acquire(ctx, topic.Ordinary, 60) }()
	w.release(topic.Ordinary, 1, 1000)
	if err := <-got; err != nil {
		t.Fatalf("acquire() after release = %v, want nil", err)
	}
	cancel()
	if err := w.acquire(ctx, topic.Ordinary, 60); !errors.Is(err, context.Canceled) {
		t.Errorf("acquire() beyond the bytes = %v, want context.Canceled", err)
	}
	if err := w.acquire(ctx, topic.Ordinary, 40); err != nil {
		t.Errorf("acquire() within the bytes = %v, want nil", err)
	}
}

// However records come and go: overflow has half of the window and one record
// at most, both together have all of it and one, and ordinary records that need
// no more than the other half never wait.
func TestWindowBands(t *testing.T) {
	t.Parallel()
	const records, bytes, largest = 9, 100, 30
	rnd := rand.New(rand.NewPCG(1, 2))
	w := newWindow(records, bytes)
	var held [topic.Bands][]int64
	sum := func(sizes []int64) (n int64) {
		for _, size := range sizes {
			n += size
		}
		return n
	}
	for range 100_000 {
		b := topic.Band(rnd.IntN(topic.Bands))
		if n := len(held[b]); n > 0 && rnd.IntN(2) == 0 {
			w.release(b, 1, held[b][n-1])
			held[b] = held[b][:n-1]
			continue
		}
		size := rnd.Int64N(largest)
		ordinary := held[topic.Ordinary]
		_, ok := w.take(b, size)
		if !ok && b == topic.Ordinary && len(ordinary) < records/2 && sum(ordinary)+size <= bytes/2-largest {
			t.Fatalf("an ordinary record of %d waits beside %v", size, held)
		}
		if !ok && len(held[b]) == 0 {
			t.Fatalf("the first %v record waits beside %v", b, held)
		}
		if ok {
			held[b] = append(held[b], size)
		}
		aside, all := held[topic.Overflow], slices.Concat(held[:]...)
		if len(aside) > records/2 || sum(aside) > bytes/2+largest || len(all) > records+1 || sum(all) > bytes+largest {
			t.Fatalf("the window of %d records and %d bytes holds %v", records, bytes, held)
		}
	}
}
