package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"kurir.dev/kit/app"
)

// join makes one part of several: it starts them in order, stops those that
// started in reverse, and fails when any of them does.
func join(name string, parts ...app.Part) app.Part {
	j := &joined{parts: parts, failed: make(chan error, len(parts)), over: make(chan struct{})}
	return app.Part{Name: name, Start: j.start, Stop: j.stop, Failed: j.failed}
}

type joined struct {
	parts    []app.Part
	started  int
	failed   chan error
	over     chan struct{}
	watchers sync.WaitGroup
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
func (j *joined) watch(p app.Part) {
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
		if err := end(ctx, j.parts[j.started-1]); err != nil {
			faults = append(faults, err)
		}
	}
	close(j.over)
	j.watchers.Wait()
	return errors.Join(faults...)
}

func end(ctx context.Context, p app.Part) error {
	if p.Stop == nil {
		return nil
	}
	if err := p.Stop(ctx); err != nil {
		return fmt.Errorf("stopping %s: %w", p.Name, err)
	}
	return nil
}

// together is join for parts that do not depend on one another: they stop at
// the same time, so that the slowest drain is the whole drain.
func together(name string, parts ...app.Part) app.Part {
	j := &joined{parts: parts, failed: make(chan error, len(parts)), over: make(chan struct{})}
	part := app.Part{Name: name, Start: j.start, Failed: j.failed}
	part.Stop = func(ctx context.Context) error {
		faults := make([]error, j.started)
		var ends sync.WaitGroup
		for i, p := range j.parts[:j.started] {
			ends.Go(func() { faults[i] = end(ctx, p) })
		}
		ends.Wait()
		j.started = 0
		return errors.Join(errors.Join(faults...), j.stop(ctx))
	}
	return part
}
