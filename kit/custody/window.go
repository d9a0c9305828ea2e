package custody

import (
	"context"
	"sync"
)

// window bounds what is outstanding over all partitions of a consumer.
type window struct {
	maxRecords int
	maxBytes   int64

	mu      sync.Mutex
	records int
	bytes   int64
	freed   chan struct{} // closed and renewed when room is freed
	waited  bool          // somebody waits for freed
}

func newWindow(maxRecords int, maxBytes int64) *window {
	return &window{maxRecords: maxRecords, maxBytes: maxBytes, freed: make(chan struct{})}
}

// take takes room for one record of the given size; one always fits into an
// empty window. If there is none, freed is closed when there may be.
func (w *window) take(size int64) (freed <-chan struct{}, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.records == 0 || w.records < w.maxRecords && w.bytes+size <= w.maxBytes {
		w.records++
		w.bytes += size
		return nil, true
	}
	w.waited = true
	return w.freed, false
}

// acquire waits for room; the error is ctx's.
func (w *window) acquire(ctx context.Context, size int64) error {
	for {
		freed, ok := w.take(size)
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
func (w *window) release(n int, size int64) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records -= n
	w.bytes -= size
	if w.waited {
		close(w.freed)
		w.freed, w.waited = make(chan struct{}), false
	}
}
