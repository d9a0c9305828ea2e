package embedded

import (
	"context"
	"log/slog"
	"sync/atomic"

	"kurir.dev/kit/broker/embedded/internal/catalog"
	"kurir.dev/kit/topic"
)

// guard refuses records while the disk is nearly full, in two steps: first the
// lanes', which bring work, so that what was taken can come to its end and be
// trimmed; then all, so that commits always find room. It also says when
// a partition went offline.
type guard struct {
	cfg     Config
	topics  *catalog.Catalog
	log     *slog.Logger
	work    floor
	rest    floor
	offline int          // partitions, at the last look
	free    atomic.Int64 // bytes, at the last look
}

func newGuard(cfg Config, topics *catalog.Catalog, log *slog.Logger) *guard {
	return &guard{
		cfg: cfg, topics: topics, log: log, work: floor{bytes: cfg.MinFreeBytes}, rest: floor{bytes: cfg.MinFreeBytes / 2},
	}
}

// floor is how much must be free, and whether there is less.
type floor struct {
	bytes int64
	below atomic.Bool
}

// look notes the free space and says whether that changed anything. There is
// enough again when an eighth more is free, so that nothing flutters.
func (f *floor) look(free int64) (changed bool) {
	below := free < f.bytes || f.below.Load() && free < f.bytes+f.bytes/8
	return f.below.Swap(below) != below
}

// full says that nothing new may begin.
func (g *guard) full() bool { return g.work.below.Load() }

// refuses says that records of a topic are not taken.
func (g *guard) refuses(name string) bool {
	_, lane := topic.OutcomeOf(name)
	return lane && g.full() || g.rest.below.Load()
}

// check looks at the disk. Called by one goroutine at a time.
func (g *guard) check(ctx context.Context) {
	if failed := len(g.topics.Failed()); failed > g.offline {
		g.offline = failed
		g.log.ErrorContext(ctx, "partitions are offline until the broker starts again: look at the disk first",
			slog.Int("partitions", failed))
	}
	free, err := g.cfg.Free(g.cfg.Dir)
	if err != nil {
		g.log.WarnContext(ctx, "free space unknown", slog.Any("error", err))
		return
	}
	g.free.Store(free)
	log := g.log.With(slog.Int64("free_bytes", free), slog.Int64("min_free_bytes", g.cfg.MinFreeBytes))
	switch {
	case !g.work.look(free):
	case g.full():
		log.ErrorContext(ctx, "disk nearly full, new mail is refused")
	default:
		log.InfoContext(ctx, "disk has room again, new mail is taken")
	}
	switch {
	case !g.rest.look(free):
	case g.rest.below.Load():
		log.ErrorContext(ctx, "disk full, records are refused")
	default:
		log.InfoContext(ctx, "disk has some room again, records are taken")
	}
}
