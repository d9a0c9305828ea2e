// Package member tells how many dispatchers are alive, so that each takes its
// part of what a site may have.
//
// The consumer groups know: a dispatcher is a member of the group of each lane
// that it serves, and it counts once however many those are. One that dies is
// a member until its session ends; until then the others keep to the smaller
// part, so that together they never exceed a limit for longer than it takes to
// look ([Every]).
package member

import (
	"context"
	"log/slog"
	"time"
)

// Every is how often the groups are looked at.
const Every = time.Second

// Watch asks count until ctx ends, and tells share of each answer. What cannot
// be counted changes nothing. The error is ctx's.
func Watch(ctx context.Context, log *slog.Logger, count func(context.Context) (int, error), share func(members int)) error {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	known := 0
	for {
		n, err := count(ctx)
		switch {
		case err != nil:
			log.LogAttrs(ctx, slog.LevelDebug, "dispatchers could not be counted", slog.Any("error", err))
		case n != known && n > 0: // none: we are about to join
			log.LogAttrs(ctx, slog.LevelInfo, "sites are shared", slog.Int("dispatchers", n))
			known = n
			share(n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
