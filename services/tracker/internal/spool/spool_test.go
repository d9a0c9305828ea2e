package spool_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/topic"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/tracker/internal/hit"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/spool"
	"kurir.dev/services/tracker/internal/store"
)

// fake is a store that remembers, and fails as long as it is told to.
type fake struct {
	mu     sync.Mutex
	posted []broker.Message
	errand []store.Errand
	err    error
	calls  chan struct{}
}

func (f *fake) MailsByID(_ context.Context, tenant string, ids []string) ([]mail.Mail, error) {
	return []mail.Mail{{
		Tenant: tenant, ID: ids[0], Lane: "billing", DeliveredAt: noon,
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}}, nil
}

func (f *fake) Post(_ context.Context, messages []broker.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case f.calls <- struct{}{}:
	default:
	}
	if f.err == nil {
		f.posted = append(f.posted, messages...)
	}
	return f.err
}

func (f *fake) AddErrand(_ context.Context, e store.Errand, _ time.Time, messages ...broker.Message) (store.Errand, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errand, f.posted = append(f.errand, e), append(f.posted, messages...)
	return e, f.err
}

func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // the hour of these tests

func newSpool(t *testing.T, f *fake, cfg spool.Config, depth int64) (*spool.Spool, *record.Codec) {
	t.Helper()
	keys, err := seal.Generate()
	if err != nil {
		t.Fatalf("seal.Generate() = %v", err)
	}
	codec := record.NewCodec(keys, topic.Names{})
	return spool.New(spool.Deps{
		Telemetry: telemetry.Discard(), Codec: codec, Store: f, Depth: func() int64 { return depth },
		Posted: func() {}, Now: func() time.Time { return noon },
	}, cfg), codec
}

func click(id string) spool.Hit {
	return spool.Hit{ID: id, Tenant: "t", MailID: "m", Link: "pay", URL: "https://pay.example", Network: "192.0.2.0/24", Request: hit.Request{
		Method: http.MethodGet, Click: true, At: noon.Add(time.Hour),
		UserAgent: "Mozilla/5.0 Firefox/145.0 \xff\x00" + strings.Repeat("x", 1000),
	}}
}

func TestQueuedHitsAreWrittenAtTheStop(t *testing.T) {
	t.Parallel()
	f := &fake{calls: make(chan struct{}, 1), err: errors.New("no store")}
	s, codec := newSpool(t, f, spool.Config{Queue: 10, Outbox: 10}, 0)
	part := s.Part()
	if err := part.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v", err)
	}
	s.Record(t.Context(), click("a"))
	<-f.calls // and it failed
	for _, id := range []string{"b", "c"} {
		s.Record(t.Context(), click(id))
	}
	f.fail(nil)
	if err := part.Stop(t.Context()); err != nil {
		t.Fatalf("Stop() = %v", err)
	}
	seen := map[string]bool{}
	for _, m := range f.posted {
		ev, err := codec.OpenEvent(custody.Record{Key: m.Key, Value: m.Value})
		if err != nil {
			t.Fatalf("OpenEvent() = %v", err)
		}
		seen[ev.GetEventId()] = true
		h := ev.GetHit()
		if ev.GetType() != eventsv1.EventType_EVENT_TYPE_CLICKED || ev.GetLane() != "billing" || h.GetLink() != "pay" ||
			h.GetClass() != eventsv1.HitClass_HIT_CLASS_HUMAN || len(h.GetUserAgent()) > 300 || strings.ContainsRune(h.GetUserAgent(), 0) ||
			!strings.Contains(ev.GetTraceparent(), "0af7651916cd43dd8448eb211c80319c") {
			t.Errorf("event = %v, want the click, whole and clean, in its mail's trace", ev)
		}
	}
	if len(seen) != 3 || len(f.posted) != 3 {
		t.Errorf("%d messages of %d hits, want 3 of 3", len(f.posted), len(seen))
	}
}

func TestFullQueueDrops(t *testing.T) {
	t.Parallel()
	f := &fake{}
	s, _ := newSpool(t, f, spool.Config{Queue: 2, Outbox: 10}, 0)
	for _, id := range []string{"a", "b", "c", "d"} {
		s.Record(t.Context(), click(id)) // never blocks
	}
	part := s.Part()
	if err := errors.Join(part.Start(t.Context()), part.Stop(t.Context())); err != nil {
		t.Fatalf("Start, Stop = %v", err)
	}
	if len(f.posted) != 2 {
		t.Errorf("%d hits written, want 2", len(f.posted))
	}
}

func TestUnsubscribeIsStored(t *testing.T) {
	t.Parallel()
	f := &fake{}
	s, codec := newSpool(t, f, spool.Config{Queue: 2, Outbox: 0}, 99) // a full outbox keeps nobody from it
	if err := s.Unsubscribe(t.Context(), click("a")); err != nil {
		t.Fatalf("Unsubscribe() = %v", err)
	}
	if len(f.posted) != 1 || len(f.errand) != 1 || f.errand[0].Kind != store.Suppress || f.errand[0].Subject != "m" {
		t.Fatalf("%d messages, errands %+v, want one and the suppression", len(f.posted), f.errand)
	}
	ev, err := codec.OpenEvent(custody.Record{Key: f.posted[0].Key, Value: f.posted[0].Value})
	if err != nil || ev.GetEventId() != "m/0/0/unsubscribed" {
		t.Errorf("event = %v, %v, want an id that repeats share", ev, err)
	}
	f.fail(errors.New("no store"))
	if err := s.Unsubscribe(t.Context(), click("a")); err == nil {
		t.Error("Unsubscribe() without a store = nil, want an error")
	}
}
