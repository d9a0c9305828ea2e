package gate

import (
	"context"
	"sync"
	"time"
)

// Rush lets ordinary work stand aside while urgent work is under way, so that
// the processors are free for it. Ordinary work waits a moment at most: what
// is urgent and slow, because its peer is, holds nobody up. The zero Rush is
// ready; safe for concurrent use.
type Rush struct {
	mu   sync.Mutex
	n    int
	last time.Time     // the last beginning
	calm chan struct{} // closed when n is 0 again
}

// How long ordinary work stands aside, and how long urgent work counts.
const (
	aside = 3 * time.Millisecond
	fresh = 20 * time.Millisecond
)

// Begin says that urgent work begins; call what it returns, once, at its end.
func (r *Rush) Begin() (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n++; r.n == 1 {
		r.calm = make(chan struct{})
	}
	r.last = time.Now()
	return sync.OnceFunc(r.end)
}

func (r *Rush) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n--; r.n == 0 {
		close(r.calm)
	}
}

// StandAside waits while urgent work has just begun, a few milliseconds at
// most.
func (r *Rush) StandAside(ctx context.Context) {
	r.mu.Lock()
	calm, busy := r.calm, r.n > 0 && time.Since(r.last) < fresh
	r.mu.Unlock()
	if !busy {
		return
	}
	timer := time.NewTimer(aside)
	defer timer.Stop()
	select {
	case <-calm:
	case <-timer.C:
	case <-ctx.Done():
	}
}
