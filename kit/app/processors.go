package app

import (
	"runtime"
	"sync/atomic"
)

// spare is how many more goroutines than processors may run. One that syncs a
// file to disk keeps its place until the scheduler's watch comes by, up to some
// milliseconds, in which a processor would idle beside work that waits. Two cover
// the syncs that are under way at a time; more only compete.
const spare = 2

// found is how many processors there were before some were feigned; 0 for as
// many as the runtime says.
var found atomic.Int32

// Processors is how many processors this program computes on, at least 1. It is
// what to divide computation by: GOMAXPROCS is larger, see [Main].
func Processors() int {
	if n := found.Load(); n > 0 {
		return int(n)
	}
	return runtime.GOMAXPROCS(0)
}

// oversubscribe gives the scheduler the spare places.
func oversubscribe() {
	n := runtime.GOMAXPROCS(0)
	found.Store(int32(n))
	runtime.GOMAXPROCS(n + spare)
}
