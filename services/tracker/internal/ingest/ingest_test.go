package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/dbtest"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/tracker/internal/ingest"
	"kurir.dev/services/tracker/internal/store"
)

// bench is a broker, a store and a way to run ingesters between them.
type bench struct {
	t        *testing.T
	broker   *brokertest.Broker
	client   *broker.Client
	producer *broker.Producer
	codec    *record.Codec
	store    *store.Store
	parcels  chan struct{}
}

func newBench(t *testing.T, url string) *bench {
	t.Helper()
	keys, err := seal.Generate()
	if err != nil {
		t.Fatalf("seal.Generate() = %v", err)
	}
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b := brokertest.New(t, nil)
	client := b.Client(nil, "bulk")
	return &bench{
		t: t, broker: b, client: client, producer: b.Producer(client), codec: record.NewCodec(keys, client.Topics()),
		store: s, parcels: make(chan struct{}, 1000),
	}
}

// run starts an ingester over s and returns how to stop it.
func (b *bench) run(s ingest.Store) (stop func()) {
	b.t.Helper()
	ready := app.NewReady()
	in := ingest.New(ingest.Deps{
		Telemetry: telemetry.Discard(), Broker: b.client, Codec: b.codec, Store: s, Ready: ready, Now: time.Now,
		Stored: func(bool) {
			select {
			case b.parcels <- struct{}{}:
			default:
			}
		},
	}, ingest.Config{Lanes: []string{"bulk"}, Group: "test", Batch: 64, Pace: time.Millisecond, Lease: 600 * time.Millisecond, MaxWait: 100 * time.Millisecond})
	if ok, _ := ready.OK(); ok {
		b.t.Error("ready before the start")
	}
	part := in.Part()
	if err := part.Start(b.t.Context()); err != nil {
		b.t.Fatalf("Start() = %v", err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			if err := part.Stop(context.WithoutCancel(b.t.Context())); err != nil {
				b.t.Errorf("Stop() = %v", err)
			}
		})
	}
	b.t.Cleanup(stop)
	return stop
}

func id(n int) string { return fmt.Sprintf("01900000-0000-7000-8000-%012d", n) }

// open makes an OPENED of mail 0 with an id of its own.
func open(n int) *eventsv1.Event {
	return &eventsv1.Event{
		EventId: fmt.Sprintf("open-%d", n), Type: eventsv1.EventType_EVENT_TYPE_OPENED, MailId: id(n % 7), Tenant: "t",
		OccurredAt: timestamppb.New(time.Unix(1_800_000_000, int64(n))),
		Detail:     &eventsv1.Event_Hit{Hit: &eventsv1.Hit{Class: eventsv1.HitClass_HIT_CLASS_HUMAN}},
	}
}

func (b *bench) produce(events ...*eventsv1.Event) {
	b.t.Helper()
	for _, ev := range events {
		msg, err := b.codec.Event(ev)
		if err != nil {
			b.t.Fatalf("Event() = %v", err)
		}
		if _, err := b.producer.Produce(b.t.Context(), msg); err != nil {
			b.t.Fatalf("Produce() = %v", err)
		}
	}
}

// opens waits until the mails have n opens together; more is a failure.
func (b *bench) opens(n int) {
	b.t.Helper()
	for {
		var sum int64
		var ids []string
		for i := range 7 {
			ids = append(ids, id(i))
		}
		mails, err := b.store.MailsByID(b.t.Context(), "t", ids)
		if err != nil {
			b.t.Fatalf("MailsByID() = %v", err)
		}
		for _, m := range mails {
			sum += m.Opens
		}
		switch {
		case sum == int64(n):
			return
		case sum > int64(n):
			b.t.Fatalf("%d opens, want %d", sum, n)
		}
		select {
		case <-b.parcels:
		case <-b.t.Context().Done():
			b.t.Fatalf("%d opens, want %d", sum, n)
		}
	}
}

// flaky loses the answer of every third commit, and refuses every fifth.
type flaky struct {
	ingest.Store

	mu sync.Mutex
	n  int
}

var errFlaky = errors.New("the answer was lost")

func (f *flaky) Ingest(ctx context.Context, records []store.Record, now time.Time, turn store.Turn) (store.Result, error) {
	f.mu.Lock()
	f.n++
	n := f.n
	f.mu.Unlock()
	if n%5 == 0 {
		return store.Result{}, errFlaky
	}
	res, err := f.Store.Ingest(ctx, records, now, turn)
	if n%3 == 0 {
		return store.Result{}, errFlaky
	}
	return res, err
}

func TestLostAnswersCountOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	b.run(&flaky{Store: b.store})
	for n := range 200 {
		b.produce(open(n))
	}
	b.opens(200)
}

func TestReplicasCountOnce(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		b := newBench(t, url)
		first := b.run(b.store)
		b.run(b.store)
		for n := range 100 {
			b.produce(open(n), open(n))
		}
		b.opens(100)
		first() // its partitions go to the other
		for n := range 100 {
			b.produce(open(100 + n))
		}
		b.opens(200)
	})
}

// picky refuses one event for good, as a database would that cannot hold it.
type picky struct {
	ingest.Store
	refuse string
}

func (p *picky) Ingest(ctx context.Context, records []store.Record, now time.Time, turn store.Turn) (store.Result, error) {
	for _, r := range records {
		if r.Event != nil && r.Event.ID == p.refuse {
			return store.Result{}, fmt.Errorf("no such text: %w", store.ErrRefused)
		}
	}
	return p.Store.Ingest(ctx, records, now, turn)
}

func TestRefusedRecordIsBuried(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	for n := range 40 {
		b.produce(open(n))
	}
	b.run(&picky{Store: b.store, refuse: "open-17"})
	b.opens(39)
	for {
		parcels, err := b.store.ClaimParcels(t.Context(), time.Now(), time.Now(), 10)
		if err != nil {
			t.Fatalf("ClaimParcels() = %v", err)
		}
		if len(parcels) == 1 && parcels[0].Message.Topic == b.client.Topics().Dead() {
			return
		}
		select {
		case <-b.parcels:
		case <-t.Context().Done():
			t.Fatal("the record did not go to the dead topic")
		}
	}
}

// full is a store whose disk is full for a while, whatever it is given.
type full struct {
	ingest.Store
	mu   sync.Mutex
	left int
}

func (f *full) Ingest(ctx context.Context, records []store.Record, now time.Time, turn store.Turn) (store.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left > 0 {
		f.left--
		return store.Result{}, errors.New("database or disk is full")
	}
	return f.Store.Ingest(ctx, records, now, turn)
}

// TestFullDiskBuriesNothing has a store fail long enough for one that halves
// batches to have come to single records.
func TestFullDiskBuriesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	for n := range 4 {
		b.produce(open(n))
	}
	b.run(&full{Store: b.store, left: 4})
	b.opens(4)
	parcels, err := b.store.ClaimParcels(t.Context(), time.Now(), time.Now(), 10)
	if err != nil || len(parcels) > 0 {
		t.Errorf("ClaimParcels() = %d parcels, %v, want none: nothing was wrong with the records", len(parcels), err)
	}
}

// TestOffsetBeyondTheLog starts with offsets of a log that is no more.
func TestOffsetBeyondTheLog(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	var parts []store.Partition
	for p := range 4 {
		parts = append(parts, store.Partition{Topic: b.client.Topics().Events(), Partition: p})
	}
	if _, err := b.store.Lease(t.Context(), "gone", parts, time.Now(), time.Now()); err != nil {
		t.Fatalf("Lease() = %v", err)
	}
	for _, p := range parts {
		p.Next = 1000
		if err := b.store.Reset(t.Context(), p); err != nil {
			t.Fatalf("Reset() = %v", err)
		}
	}
	b.produce(open(1), open(2), open(3))
	b.run(b.store)
	b.opens(3)
}

func TestBrokerAwayAtTheStart(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	b.produce(open(1))
	b.broker.Stop()
	b.run(b.store)
	b.broker.Start()
	b.opens(1)
}

// TestOffsetsAreShown looks for what the broker trims by.
func TestOffsetsAreShown(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	b.run(b.store)
	b.produce(open(1), open(2), open(3))
	b.opens(3)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		lag, err := b.client.Lag(t.Context(), "test", b.client.Topics().Events())
		if err != nil {
			t.Fatalf("Lag() = %v", err)
		}
		if lag[b.client.Topics().Events()].Depth == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("lag = %v, want none", lag)
		}
	}
}
