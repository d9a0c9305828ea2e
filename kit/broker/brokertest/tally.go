package brokertest

import (
	"sync"
	"testing"
	"time"
)

// tallyPatience is how long nothing may happen that a test waits for.
const tallyPatience = time.Minute

// Tally counts what happens beside a test, so that the test can wait for more of
// it. The zero value has counted nothing. Safe for concurrent use.
type Tally struct {
	mu    sync.Mutex
	n     int
	grown chan struct{} // closed and renewed with each; nil until somebody waits
}

// Add counts one more.
func (t *Tally) Add() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	if t.grown != nil {
		close(t.grown)
		t.grown = nil
	}
}

// look returns the count and what is closed when it grows.
func (t *Tally) look() (n int, grown <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.grown == nil {
		t.grown = make(chan struct{})
	}
	return t.n, t.grown
}

// More waits until n more are counted than are now. The test fails when there
// is none for a minute.
func (t *Tally) More(tb testing.TB, n int) {
	tb.Helper()
	have, grown := t.look()
	for want := have + n; have < want; have, grown = t.look() {
		select {
		case <-grown:
		case <-tb.Context().Done():
			tb.Fatalf("the test ended at %d of %d", have, want)
		case <-time.After(tallyPatience):
			tb.Fatalf("there was none for %v: %d, want %d", tallyPatience, have, want)
		}
	}
}
