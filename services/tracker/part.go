package tracker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"kurir.dev/kit/app"
)

// chain is several parts as one: they start in order, stop in reverse, and it
// fails when one of them does.
type chain struct {
	parts   []app.Part
	started int
	failed  chan error
	over    chan struct{}
	watch   sync.WaitGroup
}

func newChain(parts ...app.Part) *chain {
	return &chain{parts: parts, failed: make(chan error, len(parts)), over: make(chan struct{})}
}

func (c *chain) part(name string) app.Part {
	return app.Part{Name: name, Start: c.start, Stop: c.stop, Failed: c.failed}
}

func (c *chain) start(ctx context.Context) error {
	for _, p := range c.parts {
		if p.Start != nil {
			if err := p.Start(ctx); err != nil {
				err = fmt.Errorf("starting %s: %w", p.Name, err)
				return errors.Join(err, c.stop(context.WithoutCancel(ctx)))
			}
		}
		c.started++
		if p.Failed == nil {
			continue
		}
		c.watch.Go(func() {
			select {
			case err := <-p.Failed:
				if err != nil {
					c.failed <- fmt.Errorf("%s: %w", p.Name, err)
				}
			case <-c.over:
			}
		})
	}
	return nil
}

func (c *chain) stop(ctx context.Context) error {
	var faults []error
	for ; c.started > 0; c.started-- {
		p := c.parts[c.started-1]
		if p.Stop == nil {
			continue
		}
		if err := p.Stop(ctx); err != nil {
			faults = append(faults, fmt.Errorf("stopping %s: %w", p.Name, err))
		}
	}
	close(c.over)
	c.watch.Wait()
	return errors.Join(faults...)
}
