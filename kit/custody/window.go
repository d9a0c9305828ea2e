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

// acquire waits for room for one record of the given size. One always fits
// into an empty window.
func (w *window) acquire(ctx context.Context, size int64) error {
	for {
		w.mu.Lock()
		if w.records == 0 || w.records < w.maxRecords && w.bytes+size <= w.maxBytes {
			w.records++
			w.bytes += size
			w.mu.Unlock()
			return nil
		}
		freed := w.freed
		w.waited = true
		w.mu.Unlock()
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
