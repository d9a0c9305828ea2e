package app

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

const (
	// rounds is how often Keep looks.
	rounds = time.Second
	// patience is how long it waits for an answer.
	patience = 3 * time.Second
)

// Keep keeps the named gate true to what ping says, every second until ctx
// ends, and returns nil then. It logs when a peer stops answering and when it
// answers again, not in between.
func (r *Ready) Keep(ctx context.Context, log *slog.Logger, name string, ping func(ctx context.Context) error) error {
	tick := time.NewTicker(rounds)
	defer tick.Stop()
	open := false
	for {
		open = r.look(ctx, log, name, open, ping)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look sets the gate by what ping answers now, and returns whether it is open.
func (r *Ready) look(ctx context.Context, log *slog.Logger, name string, was bool, ping func(ctx context.Context) error) bool {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := ping(bounded)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return was // stopping, which says nothing of the peer
	case err != nil:
		r.Set(name, false, err.Error())
		if was {
			log.WarnContext(ctx, "peer does not answer, not ready", slog.String("peer", name), slog.Any("error", err))
		}
		return false
	default:
		r.Set(name, true, "")
		if !was {
			log.InfoContext(ctx, "peer answers", slog.String("peer", name))
		}
		return true
	}
}
