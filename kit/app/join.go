package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Join makes one part of several. It starts them in order, stops those that
// started in reverse, and fails when any of them does. Like any part it lives
// once.
func Join(name string, parts ...Part) Part {
	j := newJoined(parts)
	return Part{Name: name, Start: j.start, Stop: j.stop, Failed: j.failed}
}

// Together is Join for parts that do not depend on one another: they stop at
// the same time, so that the slowest drain is the whole drain.
func Together(name string, parts ...Part) Part {
	j := newJoined(parts)
	return Part{Name: name, Start: j.start, Stop: j.stopAll, Failed: j.failed}
}

// joined is several parts in one life.
type joined struct {
	parts    []Part
	started  int
	failed   chan error
	over     chan struct{}
	watchers sync.WaitGroup
}

func newJoined(parts []Part) *joined {
	return &joined{parts: parts, failed: make(chan error, len(parts)), over: make(chan struct{})}
}

func (j *joined) start(ctx context.Context) error {
	for _, p := range j.parts {
		if p.Start != nil {
			if err := p.Start(ctx); err != nil {
				err = fmt.Errorf("starting %s: %w", p.Name, err)
				return errors.Join(err, j.stop(context.WithoutCancel(ctx)))
			}
		}
		j.started++
		if p.Failed != nil {
			j.watchers.Go(func() { j.watch(p) })
		}
	}
	return nil
}

// watch passes a part's failure on.
func (j *joined) watch(p Part) {
	select {
	case err := <-p.Failed:
		if err != nil {
			j.failed <- fmt.Errorf("%s: %w", p.Name, err)
		}
	case <-j.over:
	}
}

func (j *joined) stop(ctx context.Context) error {
	var faults []error
	for ; j.started > 0; j.started-- {
		faults = append(faults, end(ctx, j.parts[j.started-1]))
	}
	j.finish()
	return errors.Join(faults...)
}

func (j *joined) stopAll(ctx context.Context) error {
	faults := make([]error, j.started)
	var ends sync.WaitGroup
	for i, p := range j.parts[:j.started] {
		ends.Go(func() { faults[i] = end(ctx, p) })
	}
	ends.Wait()
	j.started = 0
	j.finish()
	return errors.Join(faults...)
}

// finish ends the watching.
func (j *joined) finish() {
	close(j.over)
	j.watchers.Wait()
}

// end stops one part.
func end(ctx context.Context, p Part) error {
	if p.Stop == nil {
		return nil
	}
	if err := p.Stop(ctx); err != nil {
		return fmt.Errorf("stopping %s: %w", p.Name, err)
	}
	return nil
}
