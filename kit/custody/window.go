package custody

import (
	"context"
	"sync"

	"kurir.dev/kit/topic"
)

// window bounds what is outstanding over all partitions of a consumer, and of
// the overflow band at half of that.
type window struct {
	most [topic.Bands]load // that of the ordinary band is of both together

	mu     sync.Mutex
	taken  [topic.Bands]load
	freed  chan struct{} // closed and renewed when room is freed
	waited bool          // somebody waits for freed
}

// load is a number of records and their bytes.
type load struct {
	records int
	bytes   int64
}

// takes says whether a load that may grow to most takes a record of that size.
func (l load) takes(size int64, most load) bool {
	return l.records < most.records && l.bytes+size <= most.bytes
}

func newWindow(maxRecords int, maxBytes int64) *window {
	w := &window{freed: make(chan struct{})}
	w.most[topic.Ordinary] = load{maxRecords, maxBytes}
	w.most[topic.Overflow] = load{maxRecords / 2, maxBytes / 2}
	return w
}

// take takes room for one record of the given size; one of each band always
// fits. If there is none, freed is closed when there may be.
func (w *window) take(b topic.Band, size int64) (freed <-chan struct{}, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	own, all := &w.taken[b], load{}
	for _, l := range w.taken {
		all = load{all.records + l.records, all.bytes + l.bytes}
	}
	if own.records == 0 || own.takes(size, w.most[b]) && all.takes(size, w.most[topic.Ordinary]) {
		own.records++
		own.bytes += size
		return nil, true
	}
	w.waited = true
	return w.freed, false
}

// acquire waits for room; the error is ctx's.
func (w *window) acquire(ctx context.Context, b topic.Band, size int64) error {
	for {
		freed, ok := w.take(b, size)
		if ok {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release frees the room of n records.
func (w *window) release(b topic.Band, n int, size int64) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken[b].records -= n
	w.taken[b].bytes -= size
	if w.waited {
		close(w.freed)
		w.freed, w.waited = make(chan struct{}), false
	}
}
