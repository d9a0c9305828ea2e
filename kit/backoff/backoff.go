// Package backoff spaces out repeated tries of something that failed:
// exponential growth with full jitter, so that many callers which lost the
// same peer do not return to it in step.
//
// It is for reconnects and restarts. How mail is retried is a lane's ladder
// (package lane).
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Policy describes the waits. The zero value is usable: see the fields.
type Policy struct {
	// Base is the ceiling of the first wait; 0 means 100 ms.
	Base time.Duration `yaml:"base"`
	// Max is the highest ceiling; 0 means 10 s.
	Max time.Duration `yaml:"max"`
}

// Delay is the wait after the n-th failure in a row (1 for the first): a
// random time from 0 up to Base doubled n-1 times, never above Max. rnd
// yields numbers in [0,1); nil means math/rand/v2.
func (p Policy) Delay(n int, rnd func() float64) time.Duration {
	if rnd == nil {
		rnd = rand.Float64
	}
	return time.Duration(rnd() * float64(p.ceiling(n)))
}

func (p Policy) ceiling(n int) time.Duration {
	ceiling, limit := p.Base, p.Max
	if ceiling <= 0 {
		ceiling = 100 * time.Millisecond
	}
	if limit <= 0 {
		limit = 10 * time.Second
	}
	for ; n > 1 && ceiling < limit; n-- {
		ceiling *= 2
	}
	return min(ceiling, limit)
}

// Wait waits the n-th [Policy.Delay] or until ctx ends, whose error it then
// returns.
func (p Policy) Wait(ctx context.Context, n int) error {
	timer := time.NewTimer(p.Delay(n, nil))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Retry calls try until it answers nil or ctx ends, waiting in between. The
// number given to try counts from 1. failed, unless nil, is told of each
// failure before the wait that follows it. The error is ctx's, or nil.
func (p Policy) Retry(ctx context.Context, try func(ctx context.Context, n int) error, failed func(n int, err error)) error {
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := try(ctx, n)
		if err == nil {
			return nil
		}
		if failed != nil {
			failed(n, err)
		}
		if err := p.Wait(ctx, n); err != nil {
			return err
		}
	}
}
