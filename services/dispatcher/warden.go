package dispatcher

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/backoff"
	"kurir.dev/kit/broker"
)

const (
	// rounds is how often the warden looks.
	rounds = time.Second
	// patience is how long it waits for an answer.
	patience = 3 * time.Second
)

// warden keeps the dispatcher's readiness true: it makes the topics, for as
// long as that takes, then looks after the broker.
type warden struct {
	broker   *broker.Client
	producer *broker.Producer
	lanes    []string
	ready    *app.Ready
	log      *slog.Logger
	topics   chan struct{} // closes when the topics are there
	open     bool          // the gate, as last set by run
}

// newWarden makes a warden; the broker's gate is shut until it has looked.
func newWarden(b *broker.Client, p *broker.Producer, lanes []string, ready *app.Ready, log *slog.Logger) *warden {
	ready.Set("broker", false, "not reached yet")
	return &warden{broker: b, producer: p, lanes: lanes, ready: ready, log: log, topics: make(chan struct{})}
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
		return err // stopped before the broker came
	}
	close(w.topics)
	tick := time.NewTicker(rounds)
	defer tick.Stop()
	for {
		w.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
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
			return ctx.Err()
		}
	}
}

// look sets the gate by what answers now.
func (w *warden) look(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := w.broker.Ping(bounded)
	if err == nil && !w.producer.Healthy() {
		err = errors.New("broker does not take records")
	}
	if ctx.Err() != nil {
		return // stopping, which says nothing of the broker
	}
	was := w.open
	w.open = err == nil
	if err != nil {
		w.ready.Set("broker", false, err.Error())
		if was {
			w.log.WarnContext(ctx, "broker does not answer, not ready", slog.Any("error", err))
		}
		return
	}
	w.ready.Set("broker", true, "")
	if !was {
		w.log.InfoContext(ctx, "broker answers")
	}
}
