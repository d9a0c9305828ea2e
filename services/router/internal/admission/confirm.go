package admission

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"kurir.dev/kit/backoff"
)

// confirmBatch is how many keys are confirmed in one call.
const confirmBatch = 128

// landings are the keys whose mail lies on its lane and whose event ACCEPTED is
// told, until the ledger has that. It holds no more than there are events under
// way.
type landings struct {
	mu     sync.Mutex
	keys   []Key
	signal chan struct{} // holds a token when keys came
}

func newLandings() *landings { return &landings{signal: make(chan struct{}, 1)} }

// add never blocks.
func (l *landings) add(k Key) {
	l.mu.Lock()
	l.keys = append(l.keys, k)
	l.mu.Unlock()
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// take gives the next keys to confirm.
func (l *landings) take() []Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.keys), confirmBatch)
	keys := l.keys[:n:n]
	if l.keys = l.keys[n:]; len(l.keys) == 0 {
		l.keys = nil
	}
	return keys
}

// Run confirms the keys of mail that reached its lane, until ctx ends and no
// submission is in flight any more; callers stop submitting before they end it.
// A store that does not answer is asked again with a growing pause.
func (d *Desk) Run(ctx context.Context) error {
	for {
		select {
		case <-d.landed.signal:
		case <-ctx.Done():
			d.drain(ctx)
			return nil
		}
		d.drain(ctx)
	}
}

func (d *Desk) drain(ctx context.Context) {
	for keys := d.landed.take(); len(keys) > 0; keys = d.landed.take() {
		d.confirm(ctx, keys)
	}
}

// confirm confirms keys and clears their flights. Once ctx has ended it tries
// once: a key that stays pending costs its caller a look at the lane, no mail.
func (d *Desk) confirm(ctx context.Context, keys []Key) {
	failed := func(n int, err error) {
		d.deps.Log.WarnContext(ctx, "keys could not be confirmed", slog.Any("error", err), slog.Int("attempt", n))
	}
	try := func(ctx context.Context, _ int) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return d.deps.Ledger.Confirm(ctx, keys)
	}
	if err := try(ctx, 1); err != nil {
		failed(1, err)
		_ = backoff.Policy{Base: 200 * time.Millisecond}.Retry(ctx, try, failed) // ends with ctx at the latest
	}
	d.flights.clear(keys)
}
