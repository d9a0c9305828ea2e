package relay_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/topic"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/tracker/internal/ledger"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/relay"
	"kurir.dev/services/tracker/internal/store"
)

// box is a store of parcels and errands that remembers what became of them.
type box struct {
	mu        sync.Mutex
	parcels   []store.Parcel
	delivered []int64
	returned  []int64
	counted   chan struct{} // one for each count, that is after each round

	done map[int64]int64
	put  []int64
}

func (b *box) ClaimParcels(context.Context, time.Time, time.Time, int) ([]store.Parcel, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.parcels
	b.parcels = nil
	return p, nil
}

func (b *box) Delivered(_ context.Context, ids []int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.delivered = append(b.delivered, ids...)
	return nil
}

func (b *box) Return(_ context.Context, ids []int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.returned = append(b.returned, ids...)
	return nil
}

func (b *box) Waiting(context.Context) (store.Waiting, error) {
	select {
	case b.counted <- struct{}{}:
	default:
	}
	return store.Waiting{Parcels: 7}, nil
}

func (b *box) ClaimErrands(context.Context, time.Time, time.Time, int) ([]store.Errand, error) {
	return nil, nil
}

func (b *box) PutOff(_ context.Context, id int64, _ time.Time) error {
	b.put = append(b.put, id)
	return nil
}

func (b *box) Done(_ context.Context, e store.Errand, cancelled int64) error {
	if b.done == nil {
		b.done = map[int64]int64{}
	}
	b.done[e.ID] = cancelled
	return nil
}

func (b *box) Mail(context.Context, string, string) (mail.Mail, error) {
	return mail.Mail{}, store.ErrUnknown
}

// producer answers by the message's key.
type producer struct {
	mu   sync.Mutex
	seen []string
}

func (p *producer) Enqueue(m broker.Message, done func(broker.Position, error)) error {
	p.mu.Lock()
	p.seen = append(p.seen, m.Topic)
	p.mu.Unlock()
	switch string(m.Key) {
	case "large":
		return fault.Newf(fault.Invalid, faultv1.Reason_REASON_MAIL_TOO_LARGE, "too large")
	case "lost":
		done(broker.Position{}, errors.New("no acknowledgement"))
	case "away":
		return fault.Newf(fault.Unavailable, faultv1.Reason_REASON_BROKER_UNAVAILABLE, "away")
	default:
		done(broker.Position{}, nil)
	}
	return nil
}

func parcel(id int64, key string) store.Parcel {
	return store.Parcel{ID: id, Message: broker.Message{Topic: "t", Key: []byte(key)}}
}

func TestParcels(t *testing.T) {
	t.Parallel()
	keys, err := seal.Generate()
	if err != nil {
		t.Fatalf("seal.Generate() = %v", err)
	}
	b := &box{counted: make(chan struct{}, 1), parcels: []store.Parcel{
		parcel(1, "good"),
		{ID: 2, Entry: &ledger.Entry{ID: "e", Type: ledger.Paid, Tenant: "t", InvoiceID: "INV"}},
		parcel(3, "large"), parcel(4, "lost"), parcel(5, "away"), parcel(6, "good"),
	}}
	p := &producer{}
	r := relay.NewParcels(telemetry.Discard(), record.NewCodec(keys, topic.Names{}), b, p, time.Now)
	part := r.Part()
	if err := part.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v", err)
	}
	<-b.counted
	if err := part.Stop(t.Context()); err != nil {
		t.Fatalf("Stop() = %v", err)
	}
	if diff := cmp.Diff([]int64{1, 2, 3}, b.delivered); diff != "" {
		t.Errorf("delivered differs (-want +got):\n%s", diff)
	}
	want := map[int64]bool{4: true, 5: true, 6: true}
	for _, id := range b.returned {
		delete(want, id)
	}
	if len(want) > 0 || len(b.returned) != 3 {
		t.Errorf("returned %v, want 4, 5 and 6", b.returned)
	}
	if diff := cmp.Diff([]string{"t", "kurir.billing", "t", "t", "t"}, p.seen); diff != "" {
		t.Errorf("produced differs (-want +got):\n%s", diff)
	}
	if r.Depth() != 7 {
		t.Errorf("Depth() = %d, want 7", r.Depth())
	}
}

// router answers every Cancel alike.
type router struct {
	routerv1.RouterServiceClient

	err error
}

func (r router) Cancel(context.Context, *routerv1.CancelRequest, ...grpc.CallOption) (*routerv1.CancelResponse, error) {
	return &routerv1.CancelResponse{Cancelled: 3}, r.err
}

func TestErrands(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	away := fault.Newf(fault.Unavailable, faultv1.Reason_REASON_NOT_READY, "away")
	refused := fault.Newf(fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD, "no")
	for _, c := range []struct {
		name   string
		kind   store.ErrandKind
		since  time.Time
		err    error
		done   bool
		wantN  int64
		failed bool
	}{
		{"done", store.CancelReminders, now, nil, true, 3, false},
		{"away", store.CancelReminders, now, away, false, 0, true},
		{"away for a week", store.CancelReminders, now.Add(-8 * 24 * time.Hour), away, true, 0, false},
		{"refused", store.CancelReminders, now, refused, true, 0, false},
		{"mail not known yet", store.Suppress, now, nil, false, 0, true},
	} {
		b := &box{}
		r := relay.NewErrands(telemetry.Discard(), b, router{err: c.err}, func() time.Time { return now })
		n, err := r.Do(t.Context(), store.Errand{ID: 1, Kind: c.kind, Tenant: "t", Subject: "INV", Since: c.since})
		_, done := b.done[1]
		if n != c.wantN || (err != nil) != c.failed || done != c.done || (len(b.put) == 1) != c.failed {
			t.Errorf("%s: Do() = %d, %v, done %v, put off %v; want %d, failed %v, done %v", c.name, n, err, done, b.put, c.wantN, c.failed, c.done)
		}
	}
	b := &box{}
	alone := relay.NewErrands(telemetry.Discard(), b, nil, time.Now)
	if n, err := alone.Do(t.Context(), store.Errand{ID: 1}); n != 0 || err != nil || len(b.done)+len(b.put) > 0 {
		t.Errorf("Do() without a router = %d, %v, want nothing done", n, err)
	}
}
