// Package app gives a process its ordered life: parts start one after another,
// each only when those before it are ready, and stop in the reverse order within
// a bound.
//
//	Run:   start A -> start B -> start C -> wait -> stop C -> stop B -> stop A
//
// The wait ends when the context ends, by a signal for instance, or when a part
// reports that it failed; either way everything that was started is stopped.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Part is one thing that lives as long as the process does.
type Part struct {
	// Name says in logs and errors which part it is.
	Name string
	// Start returns when the part is ready, or the error why it cannot be. Its
	// context ends when the process is to stop; what the part keeps running must
	// not hang on that context, or it would die before its turn to stop: derive
	// it with context.WithoutCancel, and end it in Stop. Start may be nil.
	Start func(ctx context.Context) error
	// Stop ends the part: it drains until ctx ends, and then cuts off. It is
	// called once, and only if Start returned nil. Stop may be nil.
	Stop func(ctx context.Context) error
	// Failed delivers the error by which the part ended on its own; it is read
	// once, after Start. Closing it, or sending nil, is no failure. Failed may be
	// nil.
	Failed <-chan error
}

// Run starts parts in order, waits until ctx ends or a part fails, and stops
// those that started, in reverse order. It returns what failed and what could not
// be stopped, joined, and nil after an orderly life.
//
// drain bounds the stopping: the parts share it, and a part whose predecessors
// used it up still gets a tenth of it for itself. A part that ignores the end of
// its context is left behind and reported.
func Run(ctx context.Context, log *slog.Logger, drain time.Duration, parts ...Part) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := watcher{failures: make(chan error, len(parts)), over: make(chan struct{}), fail: cancel}

	var faults []error
	started := 0
	for _, p := range parts {
		if ctx.Err() != nil {
			break
		}
		began := time.Now()
		if p.Start != nil {
			if err := p.Start(ctx); err != nil {
				// A start cut short by the order to stop is not what went wrong.
				if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
					faults = append(faults, fmt.Errorf("starting %s: %w", p.Name, err))
				}
				cancel(nil)
				break
			}
		}
		started++
		log.DebugContext(ctx, "part started", slog.String("part", p.Name), slog.Duration("took", time.Since(began)))
		w.watch(p)
	}
	if len(faults) == 0 && ctx.Err() == nil {
		log.InfoContext(ctx, "started", slog.Int("parts", started))
	}
	<-ctx.Done()
	faults = append(faults, w.end()...)

	log.InfoContext(ctx, "stopping", slog.Duration("drain", drain))
	faults = append(faults, stop(context.WithoutCancel(ctx), log, drain, parts[:started])...)
	if err := errors.Join(faults...); err != nil {
		return err
	}
	log.InfoContext(ctx, "stopped")
	return nil
}

// stop stops parts from the last to the first and returns what went wrong.
func stop(ctx context.Context, log *slog.Logger, drain time.Duration, parts []Part) []error {
	var faults []error
	least := drain / 10
	deadline := time.Now().Add(drain)
	for _, p := range slices.Backward(parts) {
		if p.Stop == nil {
			continue
		}
		began := time.Now()
		left := max(deadline.Sub(began), least)
		if err := stopOne(ctx, p, left, least); err != nil {
			faults = append(faults, fmt.Errorf("stopping %s: %w", p.Name, err))
		}
		log.DebugContext(ctx, "part stopped", slog.String("part", p.Name), slog.Duration("took", time.Since(began)))
	}
	return faults
}

// stopOne gives p the time left, and grace more to notice that it is over.
func stopOne(ctx context.Context, p Part, left, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Stop(ctx) }()
	abandon := time.NewTimer(left + grace)
	defer abandon.Stop()
	select {
	case err := <-done:
		return err
	case <-abandon.C:
		return errors.New("did not end in time and was left behind")
	}
}

// watcher turns the failure of any part into the end of the run.
type watcher struct {
	failures chan error
	over     chan struct{}
	fail     context.CancelCauseFunc
	watched  int
}

func (w *watcher) watch(p Part) {
	if p.Failed == nil {
		return
	}
	w.watched++
	go func() {
		var err error
		select {
		case err = <-p.Failed:
		case <-w.over:
			select { // what failed by now still counts
			case err = <-p.Failed:
			default:
			}
		}
		if err != nil {
			err = fmt.Errorf("%s failed: %w", p.Name, err)
			w.fail(err)
		}
		w.failures <- err
	}()
}

// end waits for all watching goroutines and returns the failures they saw.
func (w *watcher) end() []error {
	close(w.over)
	var faults []error
	for range w.watched {
		if err := <-w.failures; err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}

// Loop returns a Part that runs run in a goroutine of its own, from Start until
// Stop cancels its context and run returns. An error that run returns before that
// fails the part; nil just ends it. The error of a cancelled context is no error.
func Loop(name string, run func(ctx context.Context) error) Part {
	var cancel context.CancelFunc
	failed := make(chan error, 1)
	done := make(chan struct{})
	var last error // written before done closes, read after
	return Part{
		Name:   name,
		Failed: failed,
		Start: func(ctx context.Context) error {
			ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
			go func() {
				defer close(done)
				err := run(ctx)
				switch {
				case ctx.Err() == nil && err != nil:
					failed <- err
				case err != nil && !errors.Is(err, context.Canceled):
					last = err
				}
			}()
			return nil
		},
		Stop: func(ctx context.Context) error {
			cancel()
			select {
			case <-done:
				return last
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
}
