// Package relay works off what must leave the store: parcels for Kafka and
// errands at the router. Both are written with their cause in one transaction
// and done at least once; what receives them knows repeats by their ids.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/record"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/wire"
)

const (
	// idle is how often the store is looked into when nobody calls.
	idle = 2 * time.Second
	// claim is how long what was taken is kept from other replicas; the broker
	// answers, or gives up, well within it.
	claim = 30 * time.Second
	// many is how much is taken at a time.
	many = 200
)

// ParcelStore holds the parcels; the tracker's store is one.
type ParcelStore interface {
	ClaimParcels(ctx context.Context, now, until time.Time, limit int) ([]store.Parcel, error)
	Delivered(ctx context.Context, ids []int64) error
	Return(ctx context.Context, ids []int64) error
	Waiting(ctx context.Context) (store.Waiting, error)
}

// Producer takes records to Kafka; broker.Producer is one.
type Producer interface {
	Enqueue(m broker.Message, done func(broker.Position, error)) error
}

// Parcels produces the outbox to Kafka; make it with NewParcels.
type Parcels struct {
	log      *slog.Logger
	codec    *record.Codec
	store    ParcelStore
	producer Producer
	now      func() time.Time
	wake     chan struct{}
	waiting  atomic.Pointer[store.Waiting]
}

// NewParcels makes the relay of the outbox.
func NewParcels(t *telemetry.Telemetry, codec *record.Codec, s ParcelStore, p Producer, now func() time.Time) *Parcels {
	r := &Parcels{log: t.Log, codec: codec, store: s, producer: p, now: now, wake: make(chan struct{}, 1)}
	r.waiting.Store(&store.Waiting{})
	m := t.Meter("kurir.dev/services/tracker/relay")
	// Instruments with constant, valid names do not fail.
	_, _ = m.Int64ObservableGauge("kurir_tracker_outbox_records", metric.WithDescription("Records in the store that wait for the broker."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(r.waiting.Load().Parcels)
			return nil
		}))
	_, _ = m.Int64ObservableGauge("kurir_tracker_errands", metric.WithDescription("Calls that wait for the router."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(r.waiting.Load().Errands)
			return nil
		}))
	return r
}

// Kick tells that there are parcels; it never blocks.
func (r *Parcels) Kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Depth is how many parcels waited in the store at the last count.
func (r *Parcels) Depth() int64 { return r.waiting.Load().Parcels }

// Part produces from Start to Stop; what is left stays in the store.
func (r *Parcels) Part() app.Part { return app.Loop("outbox", r.run) }

func (r *Parcels) run(ctx context.Context) error {
	tick := time.NewTicker(idle)
	defer tick.Stop()
	for {
		for ctx.Err() == nil {
			n, err := r.once(ctx)
			if err != nil && ctx.Err() == nil {
				r.log.WarnContext(ctx, "outbox not emptied, trying again", slog.Any("error", err))
			}
			if n < many || err != nil {
				break
			}
		}
		r.count(ctx)
		select {
		case <-r.wake:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Parcels) count(ctx context.Context) {
	if w, err := r.store.Waiting(ctx); err == nil {
		r.waiting.Store(&w)
	}
}

// once produces one handful and returns how many it was.
func (r *Parcels) once(ctx context.Context) (int, error) {
	now := r.now()
	parcels, err := r.store.ClaimParcels(ctx, now, now.Add(claim), many)
	if err != nil || len(parcels) == 0 {
		return 0, err
	}
	h := handful{log: r.log, open: make(map[int64]bool, len(parcels))}
	for _, p := range parcels {
		h.open[p.ID] = true
	}
	for _, p := range parcels {
		msg, err := r.message(p)
		if err == nil {
			h.under.Add(1)
			err = r.producer.Enqueue(msg, func(_ broker.Position, err error) {
				h.note(ctx, p.ID, err)
				h.under.Done()
			})
			if err != nil {
				h.under.Done()
			}
		}
		if err != nil {
			h.note(ctx, p.ID, err)
		}
		if errors.Is(err, fault.Unavailable) {
			break // and so would be the rest
		}
	}
	h.under.Wait()
	settle := context.WithoutCancel(ctx) // what the broker did must be noted
	return len(parcels), errors.Join(r.store.Delivered(settle, h.acked), r.store.Return(settle, slices.Collect(maps.Keys(h.open))), h.fault)
}

// handful is what became of the parcels of one claim.
type handful struct {
	log   *slog.Logger
	under sync.WaitGroup

	mu    sync.Mutex
	acked []int64
	open  map[int64]bool // not acknowledged
	fault error          // the last one
}

func (h *handful) note(ctx context.Context, id int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil && !errors.Is(err, fault.Invalid) {
		h.fault = err
		return
	}
	if err != nil {
		h.log.ErrorContext(ctx, "the broker can never take a record of the outbox, it is dropped", slog.Any("error", err))
	}
	h.acked = append(h.acked, id)
	delete(h.open, id)
}

// message is a parcel's message, made now where it is a ledger entry.
func (r *Parcels) message(p store.Parcel) (broker.Message, error) {
	if p.Entry == nil {
		return p.Message, nil
	}
	return r.codec.Billing(wire.Billing(*p.Entry))
}
