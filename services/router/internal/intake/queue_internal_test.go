package intake

import (
	"testing"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/record"
)

// TestQueueShares: a flood of one lane leaves the others their part, whoever
// came first.
func TestQueueShares(t *testing.T) {
	t.Parallel()
	q := newQueue(lane.Default())
	push := func(name string, n int) {
		for range n {
			q.push(custody.NewDelivery(custody.Record{Headers: []broker.Header{{Key: record.HeaderLane, Value: []byte(name)}}}, nil))
		}
	}
	push("bulk", 1000)
	for range 100 {
		q.pop()
	}
	push("billing", 40)
	push("gone", 10)
	got := map[string]int{}
	for range 60 {
		got[record.Header(q.pop().Record, record.HeaderLane)]++
	}
	// Weights 4, 1 and 1.
	if got["billing"] < 38 || got["bulk"] < 8 || got["gone"] < 8 {
		t.Errorf("of 60 %v, want billing about 40 and ten of each other", got)
	}
	rest := 0
	for q.pop() != nil {
		rest++
	}
	if rest != 1000-100+40+10-60 {
		t.Errorf("%d left, want all that was not given out", rest)
	}
}
