package router

import (
	"context"
	"log/slog"
	"time"

	"kurir.dev/services/router/internal/store"
)

// purgeEvery is how often what is old is forgotten.
const purgeEvery = time.Minute

// purge forgets idempotency keys and departed mail when their time is over.
type purge struct {
	store            *store.Store
	log              *slog.Logger
	now              func() time.Time
	window, remember time.Duration
}

// run works until ctx ends.
func (p *purge) run(ctx context.Context) error {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		now := p.now()
		n, err := p.store.Purge(ctx, now.Add(-p.window), now.Add(-p.remember))
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			p.log.WarnContext(ctx, "old rows could not be purged", slog.Any("error", err))
		case n > 0:
			p.log.DebugContext(ctx, "old rows were purged", slog.Int64("rows", n))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
