package router

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
		p := j.parts[j.started-1]
		if p.Stop == nil {
			continue
		}
		if err := p.Stop(ctx); err != nil {
			faults = append(faults, fmt.Errorf("stopping %s: %w", p.Name, err))
		}
	}
	close(j.over)
	j.watchers.Wait()
	return errors.Join(faults...)
}
