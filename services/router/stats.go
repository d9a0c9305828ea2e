package router

import (
	"context"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"kurir.dev/kit/broker"
	"kurir.dev/services/router/internal/rpcapi"
	"kurir.dev/services/router/internal/store"
)

// statsPatience bounds how long the lanes' depth may take.
const statsPatience = 2 * time.Second

// stats tells how the lanes do: their depth by what the dispatchers' groups
// have committed, their waiting mail by the store's counts. Neither takes the
// longer the more there is.
type stats struct {
	broker *broker.Client
	store  *store.Store
	group  string // "%s" stands for the lane
	lanes  []string
}

// read asks broker and store.
func (s *stats) read(ctx context.Context) (map[string]rpcapi.LaneStat, error) {
	ctx, cancel := context.WithTimeout(ctx, statsPatience)
	defer cancel()
	counts, err := s.store.Counts(ctx)
	if err != nil {
		return nil, err
	}
	lags := make([]broker.TopicLag, len(s.lanes))
	g, ctx := errgroup.WithContext(ctx)
	for i, lane := range s.lanes {
		g.Go(func() error {
			topic := s.broker.Topics().Lane(lane)
			lag, err := s.broker.Lag(ctx, strings.ReplaceAll(s.group, "%s", lane), topic)
			lags[i] = lag[topic]
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := make(map[string]rpcapi.LaneStat, len(s.lanes))
	for i, lane := range s.lanes {
		out[lane] = rpcapi.LaneStat{Depth: lags[i].Depth, Oldest: lags[i].Oldest, Waiting: counts[lane]}
	}
	return out, nil
}
