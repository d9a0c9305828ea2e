package broker

import "testing"

// A batch that waits takes what came since, in order and as far as one request
// goes.
func TestQueueFill(t *testing.T) {
	t.Parallel()
	items := func(from, n, size int) (all []item) {
		for i := range n {
			all = append(all, item{size: size, msg: Message{Partition: from + i}})
		}
		return all
	}
	for name, tt := range map[string]struct {
		batch, queued, want int
		size                int
	}{
		"nothing queued":        {3, 0, 3, 10},
		"a lone one":            {0, 1, 1, 10},
		"all of it":             {3, 4, 7, 10},
		"as many as fit":        {batchRecords - 2, 10, batchRecords, 1},
		"as many bytes as fit":  {1, 3, 2, batchBytes / 2},
		"one larger than all":   {0, 2, 1, batchBytes + 1},
		"none beside a large":   {1, 1, 1, batchBytes + 1},
		"into an empty request": {0, batchRecords + 1, batchRecords, 1},
	} {
		q := &queue{items: items(tt.batch, tt.queued, tt.size)}
		got := q.fill(items(0, tt.batch, tt.size))
		if len(got) != tt.want || len(q.items) != tt.batch+tt.queued-tt.want {
			t.Errorf("%s: %d in the batch and %d left, want %d and %d", name, len(got), len(q.items), tt.want, tt.batch+tt.queued-tt.want)
		}
		for i, it := range append(got, q.items...) {
			if it.msg.Partition != i {
				t.Errorf("%s: item %d is in place %d", name, it.msg.Partition, i)
				break
			}
		}
	}
}
