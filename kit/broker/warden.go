package broker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/backoff"
)

// errSick is the gate's reason when the broker answers and records do not
// come through.
var errSick = errors.New("broker does not take records")

// Warden makes the topics, for as long as that takes, and then keeps the
// readiness gate "broker" true.
type Warden struct {
	client   *Client
	producer *Producer
	lanes    []string
	writes   []string // topics
	ready    *app.Ready
	log      *slog.Logger
	topics   chan struct{} // closes when the topics are there
}

// NewWarden makes a warden; its gate is shut until it has looked. The producer
// must be healthy for the gate to be open.
func NewWarden(c *Client, p *Producer, lanes []string, ready *app.Ready, log *slog.Logger) *Warden {
	ready.Set("broker", false, "not reached yet")
	return &Warden{client: c, producer: p, lanes: lanes, ready: ready, log: log, topics: make(chan struct{})}
}

// Writes names the topics whose partitions must all be able to take records for
// the gate to be open: whether they are is asked of the cluster, for who has
// nothing to write just now would not notice. Call it before the warden runs.
func (w *Warden) Writes(topics ...string) { w.writes = append(w.writes, topics...) }

// Part runs the warden.
func (w *Warden) Part() app.Part { return app.Loop("warden", w.run) }

func (w *Warden) run(ctx context.Context) error {
	err := backoff.Policy{Base: 200 * time.Millisecond, Max: 5 * time.Second}.Retry(ctx,
		func(ctx context.Context, _ int) error { return w.client.EnsureTopics(ctx, w.lanes) },
		func(n int, err error) {
			w.ready.Set("broker", false, err.Error())
			w.log.WarnContext(ctx, "broker not ready, trying again", slog.Int("attempt", n), slog.Any("error", err))
		})
	if err != nil {
		return err // stopped before the broker came
	}
	close(w.topics)
	return w.ready.Keep(ctx, w.log, "broker", func(ctx context.Context) error {
		if err := w.client.Ping(ctx); err != nil {
			return err
		}
		if !w.producer.Healthy() || !w.client.takes(ctx, w.writes) {
			return errSick
		}
		return nil
	})
}

// After returns run put off until the topics are there; it returns the
// context's error when they never come.
func (w *Warden) After(run func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-w.topics:
			return run(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
