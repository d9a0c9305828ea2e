package embedded

import (
	"context"
	"log/slog"
	"sync/atomic"

	"kurir.dev/kit/broker/embedded/internal/catalog"
)

// guard refuses records while the disk is nearly full, so that commits always
// find room, and says when a partition went offline.
type guard struct {
	cfg     Config
	topics  *catalog.Catalog
	log     *slog.Logger
	refuses atomic.Bool
	offline int // partitions, at the last look
}

func newGuard(cfg Config, topics *catalog.Catalog, log *slog.Logger) *guard {
	return &guard{cfg: cfg, topics: topics, log: log}
}

// full says that records are refused.
func (g *guard) full() bool { return g.refuses.Load() }

// check looks at the disk. Records are taken again when an eighth more than
// the minimum is free, so that the guard does not flutter. Called by one
// goroutine at a time.
func (g *guard) check(ctx context.Context) {
	if failed := g.topics.Failed(); len(failed) > g.offline {
		g.offline = len(failed)
		g.log.ErrorContext(ctx, "partitions are offline until the broker starts again: look at the disk first",
			slog.Int("partitions", g.offline))
	}
	free, err := g.cfg.Free(g.cfg.Dir)
	switch {
	case err != nil:
		g.log.WarnContext(ctx, "free space unknown", slog.Any("error", err))
	case !g.full() && free < g.cfg.MinFreeBytes:
		g.log.ErrorContext(ctx, "disk nearly full, records are refused",
			slog.Int64("free_bytes", free), slog.Int64("min_free_bytes", g.cfg.MinFreeBytes))
		g.refuses.Store(true)
	case g.full() && free >= g.cfg.MinFreeBytes+g.cfg.MinFreeBytes/8:
		g.log.InfoContext(ctx, "disk has room again, records are taken", slog.Int64("free_bytes", free))
		g.refuses.Store(false)
	}
}
