package app

import (
	"runtime"
	"testing"
)

// What is computed is still divided among the processors that there are.
func TestOversubscribe(t *testing.T) { //nolint:paralleltest // it changes the whole process
	before := runtime.GOMAXPROCS(0)
	defer func() {
		runtime.GOMAXPROCS(before)
		found.Store(0)
	}()
	if got := Processors(); got != before {
		t.Errorf("Processors() = %d at first, want %d", got, before)
	}
	oversubscribe()
	if got := Processors(); got != before {
		t.Errorf("Processors() = %d, want %d still", got, before)
	}
	if got := runtime.GOMAXPROCS(0); got != before+spare {
		t.Errorf("GOMAXPROCS is %d, want %d", got, before+spare)
	}
}
