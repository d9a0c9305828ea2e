package embedded

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// guard refuses records while the disk is nearly full: kfake acknowledges a
// commit that it could not write, so commits must always find room.
type guard struct {
	cfg     Config
	cluster *kfake.Cluster
	log     *slog.Logger
	refusal *kfake.FaultHandle // while records are refused
}

func newGuard(cfg Config, cluster *kfake.Cluster, log *slog.Logger) *guard {
	return &guard{cfg: cfg, cluster: cluster, log: log}
}

// check looks at the disk. Records are taken again when an eighth more than
// the minimum is free, so that the guard does not flutter. Called by one
// goroutine at a time.
func (g *guard) check(ctx context.Context) {
	free, err := g.cfg.Free(g.cfg.Dir)
	switch {
	case err != nil:
		g.log.WarnContext(ctx, "free space unknown", slog.Any("error", err))
	case g.refusal == nil && free < g.cfg.MinFreeBytes:
		g.log.ErrorContext(ctx, "disk nearly full, records are refused",
			slog.Int64("free_bytes", free), slog.Int64("min_free_bytes", g.cfg.MinFreeBytes))
		g.refusal = g.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce, kmsg.CreateTopics}, Err: kerr.KafkaStorageError, Count: -1,
		})
	case g.refusal != nil && free >= g.cfg.MinFreeBytes+g.cfg.MinFreeBytes/8:
		g.log.InfoContext(ctx, "disk has room again, records are taken", slog.Int64("free_bytes", free))
		g.refusal.Remove()
		g.refusal = nil
	}
}
