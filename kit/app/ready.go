package app

import (
	"slices"
	"strings"
	"sync"
)

// Ready collects whether the parts of a process can do their work. The process
// is ready when every gate that was ever set is open. A Ready may be used from
// any number of goroutines; make it with NewReady.
type Ready struct {
	mu      sync.Mutex
	shut    map[string]string // gate -> why it is shut
	changed chan struct{}
}

// NewReady returns a Ready without gates, which is ready.
func NewReady() *Ready {
	return &Ready{shut: make(map[string]string), changed: make(chan struct{})}
}

// Set opens the named gate, or shuts it and says why.
func (r *Ready) Set(name string, ok bool, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, wasShut := r.shut[name]
	if ok == !wasShut && (ok || old == why) {
		return
	}
	if ok {
		delete(r.shut, name)
	} else {
		r.shut[name] = why
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// OK reports whether all gates are open; if not, it also says which are shut and
// why, in the order of their names.
func (r *Ready) OK() (bool, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.shut) == 0 {
		return true, ""
	}
	lines := make([]string, 0, len(r.shut))
	for name, why := range r.shut {
		lines = append(lines, name+": "+why)
	}
	slices.Sort(lines)
	return false, strings.Join(lines, "; ")
}

// Changed returns a channel that is closed at the next change of any gate. Take
// it before looking at OK, so that no change falls between.
func (r *Ready) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}
