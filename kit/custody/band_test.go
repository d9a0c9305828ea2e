package custody_test

import (
	"strconv"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/topic"
)

// banded is a lane whose overflow partitions are full of records that nobody
// completes, and the configuration of a consumer with a window of eight.
func banded(t *testing.T, partitions int) (*broker.Client, *broker.Producer, custody.Config) {
	t.Helper()
	b := brokertest.New(t, nil)
	c := b.Client(func(cfg *broker.Config) { cfg.Partitions = partitions }, "otp")
	p := b.Producer(c)
	first, n := topic.Overflow.Of(partitions)
	for i := range n {
		for v := range 20 {
			put(t, p, lane, first+i, "over "+strconv.Itoa(first+i)+" "+strconv.Itoa(v))
		}
	}
	cfg := quick()
	cfg.Bands, cfg.MaxRecords, cfg.Drain = true, 8, time.Millisecond
	return c, p, cfg
}

func outstanding(r *running) (n int) {
	for _, st := range r.Stats() {
		n += st.Outstanding
	}
	return n
}

// Overflow partitions take half of the window; ordinary records come one by one
// and all at once up to the other half.
func TestOverflowLeavesRoom(t *testing.T) {
	t.Parallel()
	c, p, cfg := banded(t, 4)
	h := newHands()
	r := start(t, c, h, cfg)
	for _, d := range h.take(t, 4) {
		if d.Band != topic.Overflow {
			t.Fatalf("record of partition %d has band %v, want %v", d.Partition, d.Band, topic.Overflow)
		}
	}
	for i := range 20 {
		put(t, p, lane, i%2, "ordinary "+strconv.Itoa(i))
		d := h.next(t)
		if d.Band != topic.Ordinary {
			t.Fatalf("%s comes before an ordinary record, want no more of its band", d.Value)
		}
		d.Complete(-1)
	}
	put(t, p, lane, 0, "a", "b", "c", "d")
	h.take(t, 4)
	if got := outstanding(r); got != 8 {
		t.Errorf("%d records are outstanding, want the window of 8", got)
	}
}

// What a partition of the overflow band held is free when it is dealt to
// another, and its new owner has room of its own.
func TestOverflowRevoked(t *testing.T) {
	t.Parallel()
	c, _, cfg := banded(t, 4)
	h := newHands()
	start(t, c, h, cfg)
	h.take(t, 4)
	start(t, c, h, cfg)
	seen := map[int]int{}
	for _, d := range h.take(t, 8) {
		seen[d.Partition]++
	}
	if seen[2] != 4 || seen[3] != 4 {
		t.Errorf("records by partition = %v, want four of each overflow partition: one for each member", seen)
	}
}

// A member that has nothing but overflow takes as much as it can hold.
func TestOverflowAlone(t *testing.T) {
	t.Parallel()
	c, _, cfg := banded(t, 2)
	h := newHands()
	start(t, c, h, cfg)
	h.take(t, 4)
	start(t, c, h, cfg)
	for v, d := range h.take(t, 8) {
		if d.Band != topic.Ordinary {
			t.Errorf("%s has band %v, want %v for want of another", v, d.Band, topic.Ordinary)
		}
	}
}
