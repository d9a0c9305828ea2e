package router

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody/mark"
	"kurir.dev/services/router/internal/rpcapi"
	"kurir.dev/services/router/internal/store"
)

const (
	// lookPatience bounds how long the lanes' depth may take.
	lookPatience = 2 * time.Second
	// lookEvery is how often they are looked at without being asked.
	lookEvery = 2 * time.Second
	// rateWindow is what rates are averaged over.
	rateWindow = 10 * time.Second
)

// lanes tells how the lanes do: their depth, what is in flight and the rates by
// the ends of their topics and what the dispatchers' groups have committed,
// their waiting mail by the store's counts. None of it takes the longer the
// more there is.
type lanes struct {
	broker *broker.Client
	store  *store.Store
	group  string // "%s" stands for the lane
	names  []string
	log    *slog.Logger

	mu    sync.Mutex
	looks []look // within rateWindow and one before, the oldest first
}

// look is what was seen at a time.
type look struct {
	at    time.Time
	stats map[string]rpcapi.LaneStat
	put   map[string]int64
	done  map[string]int64
}

// run looks every so often until ctx ends, so that there is something to
// compare with, and metrics need not ask the broker.
func (l *lanes) run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if _, err := l.read(ctx); err != nil && ctx.Err() == nil {
			l.log.DebugContext(ctx, "lanes could not be looked at", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// read looks now.
func (l *lanes) read(ctx context.Context) (map[string]rpcapi.LaneStat, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	counts, err := l.store.Counts(ctx)
	if err != nil {
		return nil, err
	}
	lags := make([]broker.TopicLag, len(l.names))
	g, ctx := errgroup.WithContext(ctx)
	for i, lane := range l.names {
		g.Go(func() error {
			topic := l.broker.Topics().Lane(lane)
			lag, err := l.broker.Lag(ctx, l.groupOf(lane), topic)
			lags[i] = lag[topic]
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	now := look{at: time.Now(), stats: map[string]rpcapi.LaneStat{}, put: map[string]int64{}, done: map[string]int64{}}
	for i, lane := range l.names {
		now.put[lane], now.done[lane] = lags[i].Put, lags[i].Done
		now.stats[lane] = rpcapi.LaneStat{
			Depth: lags[i].Depth, Oldest: lags[i].Oldest, InFlight: lags[i].InFlight, Waiting: counts[lane],
		}
	}
	return l.compare(now), nil
}

// groupOf is the group in which dispatchers read a lane.
func (l *lanes) groupOf(lane string) string { return strings.ReplaceAll(l.group, "%s", lane) }

// commits are what the dispatchers have committed of a lane.
func (l *lanes) commits(ctx context.Context, lane string) (map[int]mark.Mark, error) {
	return l.broker.Commits(ctx, l.groupOf(lane), l.broker.Topics().Lane(lane))
}

// compare fills in the rates and keeps the look.
func (l *lanes) compare(now look) map[string]rpcapi.LaneStat {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.looks) > 1 && now.at.Sub(l.looks[1].at) >= rateWindow {
		l.looks = l.looks[1:]
	}
	if len(l.looks) > 0 {
		before := l.looks[0]
		for lane, s := range now.stats {
			s.Window = now.at.Sub(before.at)
			if took := s.Window.Seconds(); took > 0 {
				s.Accepted = float64(max(0, now.put[lane]-before.put[lane])) / took
				s.Settled = float64(max(0, now.done[lane]-before.done[lane])) / took
			}
			now.stats[lane] = s
		}
	}
	// Who asks often does not make the list longer.
	if n := len(l.looks); n < 2 || now.at.Sub(l.looks[n-1].at) >= lookEvery/2 {
		l.looks = append(l.looks, now)
	} else {
		l.looks[n-1].stats = now.stats
	}
	return now.stats
}

// last is what was seen last; nil before the first look.
func (l *lanes) last() map[string]rpcapi.LaneStat {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.looks) == 0 {
		return nil
	}
	return l.looks[len(l.looks)-1].stats
}
