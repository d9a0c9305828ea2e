package demo

import (
	"fmt"
	"testing"
	"time"
)

// reached says whether a mark was.
func reached(mark <-chan struct{}) bool {
	select {
	case <-mark:
		return true
	default:
		return false
	}
}

func TestMarksInAnyOrder(t *testing.T) {
	t.Parallel()
	a := newArrivals()
	all, start, half := a.after(4), a.after(0), a.after(2)
	if !reached(start) || reached(half) || reached(all) {
		t.Fatal("before the first mail, only the mark at 0 is reached")
	}
	for i := range 4 {
		a.took(fmt.Sprintf("%s%d@x.example", bulkPrefix, i), nil, time.Unix(int64(i), 0))
		if got, want := reached(half), i >= 1; got != want {
			t.Errorf("after %d mails the mark at 2 is reached = %v, want %v", i+1, got, want)
		}
	}
	if !reached(all) {
		t.Error("after 4 mails the mark at 4 is not reached")
	}
}

func TestArrivalsCountDuplicates(t *testing.T) {
	t.Parallel()
	a := newArrivals()
	first := a.expect("otp@x.example")
	a.took("otp@x.example", nil, time.Unix(1, 0))
	a.took("otp@x.example", nil, time.Unix(2, 0))
	a.took("bulk-1@x.example", nil, time.Unix(3, 0))
	if at := <-first; !at.Equal(time.Unix(1, 0)) {
		t.Errorf("first arrival is at %v, want the first", at)
	}
	if bulk, again, last := a.counts(); bulk != 1 || again != 1 || !last.Equal(time.Unix(3, 0)) {
		t.Errorf("counts() = %d, %d, %v, want 1 bulk, 1 again, the newest", bulk, again, last)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var ds []time.Duration
	for i := range 100 {
		ds = append(ds, time.Duration(100-i)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 50, 0.99: 99, 1: 100, 0: 1} {
		if got := quantile(ds, q); got != want {
			t.Errorf("quantile(1..100 ms, %v) = %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
}
