package intake

import (
	"sync"

	"kurir.dev/kit/custody"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/record"
)

// queue holds deliveries by lane and gives them out in proportion to the lanes'
// weights, so that a flood of deferrals of one lane leaves the others their
// part. It holds no more than the consumer hands out.
type queue struct {
	mu     sync.Mutex
	lines  []*line
	byName map[string]*line
	served float64       // of the line that was served last
	signal chan struct{} // holds a token while something may be there
}

// line is the queue of one lane; served is how much it had, by its weight.
type line struct {
	weight float64
	served float64
	wait   []*custody.Delivery
}

func newQueue(lanes lane.Set) *queue {
	q := &queue{byName: make(map[string]*line), signal: make(chan struct{}, 1)}
	for _, l := range lanes {
		q.byName[l.Name] = &line{weight: float64(max(l.Weight, 1))}
		q.lines = append(q.lines, q.byName[l.Name])
	}
	q.byName[""] = &line{weight: 1} // of lanes that are not configured
	q.lines = append(q.lines, q.byName[""])
	return q
}

// push takes a delivery; it never blocks.
func (q *queue) push(d *custody.Delivery) {
	q.mu.Lock()
	l, ok := q.byName[record.Header(d.Record, record.HeaderLane)]
	if !ok {
		l = q.byName[""]
	}
	if len(l.wait) == 0 {
		l.served = max(l.served, q.served) // nothing is saved up while away
	}
	l.wait = append(l.wait, d)
	q.mu.Unlock()
	q.ring()
}

// pop gives the next delivery; nil when there is none.
func (q *queue) pop() *custody.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	var next *line
	more := 0
	for _, l := range q.lines {
		more += len(l.wait)
		if len(l.wait) > 0 && (next == nil || l.served < next.served) {
			next = l
		}
	}
	if next == nil {
		return nil
	}
	d := next.wait[0]
	next.wait[0] = nil
	if next.wait = next.wait[1:]; len(next.wait) == 0 {
		next.wait = nil
	}
	q.served = next.served
	next.served += 1 / next.weight
	if more > 1 {
		q.ring()
	}
	return d
}

// ring wakes one who waits.
func (q *queue) ring() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}
