package router

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/backoff"
	"kurir.dev/kit/broker"
	"kurir.dev/services/router/internal/store"
)

const (
	// rounds is how often the warden looks.
	rounds = time.Second
	// patience is how long it waits for an answer.
	patience = 3 * time.Second
)

var errSick = errors.New("broker does not take records")

// warden keeps the router's readiness true: it makes the topics, as long as
// that takes, then looks after broker and store for good.
type warden struct {
	broker   *broker.Client
	producer *broker.Producer
	store    *store.Store
	lanes    []string
	ready    *app.Ready
	log      *slog.Logger
	topics   chan struct{}   // closes when the topics are there
	open     map[string]bool // the gates, as last set by run
}

// newWarden makes a warden; the broker's gate is shut until it has looked.
func newWarden(b *broker.Client, p *broker.Producer, s *store.Store, lanes []string, ready *app.Ready, log *slog.Logger) *warden {
	ready.Set("broker", false, "not reached yet")
	return &warden{broker: b, producer: p, store: s, lanes: lanes, ready: ready, log: log, topics: make(chan struct{}), open: map[string]bool{}}
}

// run works until ctx ends.
func (w *warden) run(ctx context.Context) error {
	err := backoff.Policy{Base: 200 * time.Millisecond, Max: 5 * time.Second}.Retry(ctx,
		func(ctx context.Context, _ int) error { return w.broker.EnsureTopics(ctx, w.lanes) },
		func(n int, err error) {
			w.ready.Set("broker", false, err.Error())
			w.log.WarnContext(ctx, "broker not ready, trying again", slog.Int("attempt", n), slog.Any("error", err))
		})
	if err != nil {
		return nil // stopped before the broker came
	}
	close(w.topics)
	tick := time.NewTicker(rounds)
	defer tick.Stop()
	for {
		w.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// after runs something once the topics are there.
func (w *warden) after(run func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-w.topics:
			return run(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// look sets the gates by what answers now.
func (w *warden) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w.gate(ctx, "broker", func(ctx context.Context) error {
		if err := w.broker.Ping(ctx); err != nil {
			return err
		}
		if !w.producer.Healthy() {
			return errSick
		}
		return nil
	})
	w.gate(ctx, "store", w.store.Ping)
}

func (w *warden) gate(ctx context.Context, name string, ping func(ctx context.Context) error) {
	err := ping(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // stopping, which says nothing of the peer
	}
	was := w.open[name]
	w.open[name] = err == nil
	if err != nil {
		w.ready.Set(name, false, err.Error())
		if was {
			w.log.WarnContext(ctx, "peer does not answer, not ready", slog.String("peer", name), slog.Any("error", err))
		}
		return
	}
	w.ready.Set(name, true, "")
	if !was {
		w.log.InfoContext(ctx, "peer answers", slog.String("peer", name))
	}
}
