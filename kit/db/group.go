package db

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"kurir.dev/kit/app"
)

// ErrStopped is what [Group.Do] answers once its group was stopped.
var ErrStopped = errors.New("group commit has stopped")

// Group lets concurrent callers share one commit. While a commit runs, the
// calls that arrive gather; when it ends, they are the next batch. So an idle
// group commits a lone call at once and a busy one pays one round trip for
// many, with no timer to tune.
//
// One commit runs at a time, in the order of arrival. Callers wait, so the
// group holds no more than they bring.
type Group[T, R any] struct {
	limit  int
	commit func(ctx context.Context, batch []T) ([]R, error)
	calls  chan *call[T, R]

	mu      sync.RWMutex  // held for reading while a call is being handed in
	stopped chan struct{} // closed first: no call may enter any more
	sealed  chan struct{} // closed next: none is entering
	done    chan struct{} // closed last: the loop has ended
	cancel  context.CancelFunc
	halt    func() // closes stopped and sealed, once
}

type call[T, R any] struct {
	ctx    context.Context //nolint:containedctx // the caller's, to drop a call nobody waits for
	item   T
	result chan result[R]
}

type result[R any] struct {
	value R
	err   error
}

// NewGroup makes a group whose batches hold at most limit items (at least 1).
// commit answers one R per item, in order; its error is everyone's. What
// befalls a single item belongs into its R. commit must honour its ctx, and a
// panic in it is an error of its batch alone. The group runs between Start and
// Stop of its [Group.Part].
func NewGroup[T, R any](limit int, commit func(ctx context.Context, batch []T) ([]R, error)) *Group[T, R] {
	limit = max(limit, 1)
	g := &Group[T, R]{
		limit:   limit,
		commit:  commit,
		calls:   make(chan *call[T, R], limit),
		stopped: make(chan struct{}),
		sealed:  make(chan struct{}),
		done:    make(chan struct{}),
	}
	g.halt = sync.OnceFunc(func() {
		close(g.stopped) // lets go the callers that wait in hand
		g.mu.Lock()      // they have left
		defer g.mu.Unlock()
		close(g.sealed)
	})
	return g
}

// Do commits item, together with whatever else is waiting, and answers its
// result. When ctx ends first the error is ctx's and the item may or may not
// have been committed. After Stop the error is [ErrStopped] and it was not.
func (g *Group[T, R]) Do(ctx context.Context, item T) (R, error) {
	c := &call[T, R]{ctx: ctx, item: item, result: make(chan result[R], 1)}
	var none R
	if err := g.hand(ctx, c); err != nil {
		return none, err
	}
	select {
	case r := <-c.result:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

func (g *Group[T, R]) hand(ctx context.Context, c *call[T, R]) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	select {
	case <-g.stopped:
		return ErrStopped
	default:
	}
	select {
	case g.calls <- c:
		return nil
	case <-g.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Part is the group's life. Stop refuses new calls, commits those already
// handed in, and returns when the last commit has ended; when its ctx ends
// first, the ctx of the running commit is cancelled.
func (g *Group[T, R]) Part() app.Part {
	return app.Part{
		Name: "group commit",
		Start: func(ctx context.Context) error {
			// The run outlives the start-up's ctx and ends by Stop.
			run, cancel := context.WithCancel(context.WithoutCancel(ctx))
			g.cancel = cancel
			go g.run(run) // stop waits for it
			return nil
		},
		Stop: g.stop,
	}
}

func (g *Group[T, R]) stop(ctx context.Context) error {
	g.halt()
	if g.cancel == nil { // never started: nobody else will answer
		for _, c := range g.gather(nil) {
			c.result <- result[R]{err: ErrStopped}
		}
		return nil
	}
	defer g.cancel()
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		g.cancel()
		<-g.done
		return fmt.Errorf("draining group commit: %w", ctx.Err())
	}
}

// run commits batch after batch until the group is stopped and nothing waits.
func (g *Group[T, R]) run(ctx context.Context) {
	defer close(g.done)
	for {
		select {
		case first := <-g.calls:
			g.settle(ctx, g.gather(first))
			continue
		case <-g.sealed:
		}
		for batch := g.gather(nil); len(batch) > 0; batch = g.gather(nil) {
			g.settle(ctx, batch)
		}
		return
	}
}

// gather takes what waits now, after first unless that is nil, leaving out
// calls whose caller has gone.
func (g *Group[T, R]) gather(first *call[T, R]) []*call[T, R] {
	batch := make([]*call[T, R], 0, min(g.limit, 1+len(g.calls)))
	take := func(c *call[T, R]) {
		if c != nil && c.ctx.Err() == nil {
			batch = append(batch, c)
		}
	}
	take(first)
	for len(batch) < g.limit {
		select {
		case c := <-g.calls:
			take(c)
		default:
			return batch
		}
	}
	return batch
}

func (g *Group[T, R]) settle(ctx context.Context, batch []*call[T, R]) {
	if len(batch) == 0 {
		return
	}
	items := make([]T, len(batch))
	for i, c := range batch {
		items[i] = c.item
	}
	values, err := g.guard(ctx, items)
	if err == nil && len(values) != len(items) {
		err = fmt.Errorf("group commit answered %d results for %d items", len(values), len(items))
	}
	for i, c := range batch {
		if err != nil {
			c.result <- result[R]{err: err}
			continue
		}
		c.result <- result[R]{value: values[i]}
	}
}

// guard runs commit and turns a panic into an error.
func (g *Group[T, R]) guard(ctx context.Context, items []T) (values []R, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("group commit panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return g.commit(ctx, items)
}
