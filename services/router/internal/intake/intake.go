// Package intake brings deferred mail from Kafka into the waiting room.
//
//  1. The consumer hands each record of kurir.deferred to Handle, which queues
//     it by lane; the consumer's window bounds the queue.
//  2. A worker takes the next by the lanes' weights, opens it and puts it into the store; concurrent workers share a
//     commit there.
//  3. Once it is committed, the record is completed and the releaser is told
//     when the mail is due.
//
// The store passes over a (mail id, attempt) it has seen, so a record may be
// read any number of times. A record that does not decode goes to the dead
// topic; while the store or the broker does not answer, the record is tried
// again until its lease ends, and then belongs to the next owner.
package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"kurir.dev/kit/backoff"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/record"
	"kurir.dev/services/router/internal/waiting"
	"kurir.dev/services/router/internal/wire"
)

// workers is how many records are put at the same time; they share commits.
const workers = 64

// Room is where deferred mail goes; the store is one.
type Room interface {
	// Put takes a mail, durably; one that was taken before is passed over.
	Put(ctx context.Context, m waiting.Mail) error
}

// Deps are what an intake works with.
type Deps struct {
	Room Room
	// Codec opens deferrals and seals envelopes.
	Codec *record.Codec
	// Dead takes records that do not decode.
	Dead func(ctx context.Context, m broker.Message) error
	// Wake is told when a mail has to be decided about; it must not block.
	Wake func(lane string, at time.Time)
	// Lanes share the intake by their weights.
	Lanes lane.Set
	// Gate guards opening and sealing; nil does not.
	Gate *gate.Gate
	Log  *slog.Logger
}

// Intake is the handler of the deferred topic. Run must run while its consumer
// does.
type Intake struct {
	deps  Deps
	pause backoff.Policy
	queue *queue
}

var _ custody.Handler = (*Intake)(nil)

// New makes an intake.
func New(deps Deps) *Intake {
	return &Intake{
		deps: deps, pause: backoff.Policy{Base: 100 * time.Millisecond, Max: 5 * time.Second},
		queue: newQueue(deps.Lanes),
	}
}

// Recover implements custody.Handler; the deferred topic has no journal.
func (*Intake) Recover(context.Context, custody.Record) {}

// Revoke implements custody.Handler; nothing is kept of a partition.
func (*Intake) Revoke(int) {}

// Handle implements custody.Handler.
func (i *Intake) Handle(d *custody.Delivery) { i.queue.push(d) }

// Run works until ctx ends; end the consumer before it.
func (i *Intake) Run(ctx context.Context) error {
	var g errgroup.Group
	for range workers {
		g.Go(func() error {
			i.work(ctx)
			return nil
		})
	}
	err := g.Wait()
	for d := i.queue.pop(); d != nil; d = i.queue.pop() {
		d.Abandon()
	}
	return err
}

// work takes one record after the other until ctx ends.
func (i *Intake) work(ctx context.Context) {
	for {
		select {
		case <-i.queue.signal:
		case <-ctx.Done():
			return
		}
		for d := i.queue.pop(); d != nil; d = i.queue.pop() {
			if ctx.Err() != nil {
				d.Abandon()
				return
			}
			i.take(d.Context(), d) //nolint:contextcheck // a delivery brings its own
		}
	}
}

// take sees one record through, or gives it back.
func (i *Intake) take(ctx context.Context, d *custody.Delivery) {
	err := i.pause.Retry(ctx, func(ctx context.Context, _ int) error {
		return i.put(ctx, d.Record)
	}, func(n int, err error) {
		i.deps.Log.WarnContext(ctx, "deferred mail could not be stored",
			slog.Int("partition", d.Partition), slog.Int64("offset", d.Offset), slog.Int("attempt", n), slog.Any("error", err))
	})
	if err != nil {
		d.Abandon()
		return
	}
	d.Complete(-1)
}

// put brings one record where it belongs.
func (i *Intake) put(ctx context.Context, r custody.Record) error {
	m, err := i.open(ctx, r)
	switch {
	case errors.Is(err, record.ErrPoison):
		i.deps.Log.ErrorContext(ctx, "deferral does not decode; it goes to the dead topic",
			slog.Int("partition", r.Partition), slog.Int64("offset", r.Offset), slog.Any("error", err))
		msg, err := i.deps.Codec.Dead(r, "deferral does not decode")
		if err != nil {
			return err
		}
		return i.deps.Dead(ctx, msg)
	case err != nil:
		return err
	}
	if err := i.deps.Room.Put(ctx, m); err != nil {
		return err
	}
	i.deps.Wake(m.Lane, m.WakeAt())
	return nil
}

// open makes a waiting mail of a record: all computation, hence at the gate.
func (i *Intake) open(ctx context.Context, r custody.Record) (waiting.Mail, error) {
	leave, err := i.deps.Gate.Enter(ctx, record.Header(r, record.HeaderLane), record.Header(r, record.HeaderTenant))
	if err != nil {
		return waiting.Mail{}, err
	}
	defer leave()
	deferral, err := i.deps.Codec.OpenDeferral(r)
	if err != nil {
		return waiting.Mail{}, err
	}
	m := wire.Deferred(deferral, r.Time)
	if m.Envelope, err = i.deps.Codec.SealEnvelope(deferral.GetEnvelope()); err != nil {
		return waiting.Mail{}, fmt.Errorf("sealing: %w", err)
	}
	return m, nil
}
