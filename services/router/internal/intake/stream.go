package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"kurir.dev/kit/backoff"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/record"
	"kurir.dev/services/router/internal/waiting"
	"kurir.dev/services/router/internal/wire"
)

// workers is how many records of a topic are put at the same time; they share
// commits.
const workers = 64

// stream brings in the mail of one topic.
type stream struct {
	deps     Deps
	pause    backoff.Policy
	consumer *custody.Consumer
	queue    chan *custody.Delivery // as long as the window
}

var _ custody.Handler = (*stream)(nil)

// Recover implements custody.Handler; deferred mail has no journal.
func (*stream) Recover(context.Context, custody.Record) {}

// Revoke implements custody.Handler; nothing is kept of a partition.
func (*stream) Revoke(int) {}

// Handle implements custody.Handler.
func (s *stream) Handle(d *custody.Delivery) {
	select {
	case s.queue <- d:
	case <-d.Context().Done():
		d.Abandon()
	}
}

// run works until ctx ends and what was handed out is done or given back.
func (s *stream) run(ctx context.Context) error {
	var work sync.WaitGroup
	for range workers {
		work.Go(func() {
			for d := range s.queue {
				s.take(d.Context(), d) //nolint:contextcheck // a delivery brings its own
			}
		})
	}
	err := s.consumer.Run(ctx)
	close(s.queue) // nobody hands out any more
	work.Wait()
	return err
}

// take sees one record through, or gives it back.
func (s *stream) take(ctx context.Context, d *custody.Delivery) {
	err := s.pause.Retry(ctx, func(ctx context.Context, _ int) error {
		return s.put(ctx, d.Record)
	}, func(n int, err error) {
		s.deps.Telemetry.Log.WarnContext(ctx, "deferred mail could not be stored", slog.String("topic", d.Topic),
			slog.Int("partition", d.Partition), slog.Int64("offset", d.Offset), slog.Int("attempt", n), slog.Any("error", err))
	})
	if err != nil {
		d.Abandon()
		return
	}
	d.Complete(-1)
}

// put brings one record where it belongs.
func (s *stream) put(ctx context.Context, r custody.Record) error {
	m, err := s.open(ctx, r)
	switch {
	case errors.Is(err, record.ErrPoison):
		s.deps.Telemetry.Log.ErrorContext(ctx, "deferral does not decode; it goes to the dead topic", slog.String("topic", r.Topic),
			slog.Int("partition", r.Partition), slog.Int64("offset", r.Offset), slog.Any("error", err))
		msg, err := s.deps.Codec.Dead(r, "deferral does not decode")
		if err != nil {
			return err
		}
		return s.deps.Dead(ctx, msg)
	case err != nil:
		return err
	}
	if err := s.deps.Room.Put(ctx, m); err != nil {
		return err
	}
	s.deps.Wake(m.Lane, m.WakeAt())
	return nil
}

// open makes a waiting mail of a record: all computation, hence at the gate.
func (s *stream) open(ctx context.Context, r custody.Record) (waiting.Mail, error) {
	leave, err := s.deps.Gate.Enter(ctx, record.Header(r, record.HeaderLane), record.Header(r, record.HeaderTenant))
	if err != nil {
		return waiting.Mail{}, err
	}
	defer leave()
	deferral, err := s.deps.Codec.OpenDeferral(r)
	if err != nil {
		return waiting.Mail{}, err
	}
	m := wire.Deferred(deferral, r.Time)
	if m.Envelope, err = s.deps.Codec.SealEnvelope(deferral.GetEnvelope()); err != nil {
		return waiting.Mail{}, fmt.Errorf("sealing: %w", err)
	}
	return m, nil
}
