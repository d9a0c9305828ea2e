package admission

import (
	"context"
	"sync"
)

// flight is one submission under a key, from its first call until its key is
// confirmed in the ledger.
type flight struct {
	body    string // its fingerprint
	done    chan struct{}
	receipt Receipt // set before done closes
	err     error   // likewise
}

// flights lets concurrent submissions of one key share one flight. A flight
// stays listed after its landing until the ledger has its confirmation, since
// until then the ledger would answer "pending".
type flights struct {
	mu  sync.Mutex
	air map[Key]*flight
}

// join returns the flight of a key and whether the caller leads it. A leader
// must land it.
func (f *flights) join(k Key, body string) (*flight, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl, ok := f.air[k]; ok {
		return fl, false
	}
	fl := &flight{body: body, done: make(chan struct{})}
	f.air[k] = fl
	return fl, true
}

// land ends a flight for all who wait. With keep it stays listed until clear.
func (f *flights) land(k Key, fl *flight, r Receipt, err error, keep bool) {
	fl.receipt, fl.err = r, err
	if !keep {
		f.clear([]Key{k})
	}
	close(fl.done)
}

// clear takes keys off the list.
func (f *flights) clear(keys []Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range keys {
		delete(f.air, k)
	}
}

// wait waits for the landing of somebody else's flight.
func (fl *flight) wait(ctx context.Context) (Receipt, error) {
	select {
	case <-fl.done:
		return fl.receipt, fl.err
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
}
