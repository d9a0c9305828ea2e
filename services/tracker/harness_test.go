package tracker_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/record"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/token"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
	"kurir.dev/services/tracker"
)

// world is a broker and what a tracker needs, outliving the trackers in it.
type world struct {
	t        *testing.T
	broker   *brokertest.Broker
	client   *broker.Client
	producer *broker.Producer
	codec    *record.Codec
	deps     tracker.Deps
	cfg      tracker.Config
	router   *router
}

func newWorld(t *testing.T) *world {
	t.Helper()
	keys, err := seal.Generate()
	if err != nil {
		t.Fatalf("seal.Generate() = %v", err)
	}
	b := brokertest.New(t, nil)
	w := &world{t: t, broker: b, router: &router{calls: make(chan proto.Message, 100)}}
	w.client = b.Client(func(c *broker.Config) { c.ProduceTimeout = 2 * time.Second }, "otp", "billing", "reminder", "bulk")
	w.producer = b.Producer(w.client)
	w.codec = record.NewCodec(keys, w.client.Topics())
	w.deps = tracker.Deps{Telemetry: telemetry.Discard(), Broker: w.client, Keyring: keys, Router: w.router, Tokens: token.Generate()}
	w.cfg = tracker.Default()
	w.cfg.Store.URL = "sqlite:" + filepath.Join(t.TempDir(), "tracker.db")
	w.cfg.HTTP.Listen = "127.0.0.1:0"
	w.cfg.Ingest.Lease = 600 * time.Millisecond
	w.cfg.Ingest.MaxWait = 100 * time.Millisecond
	w.cfg.Hits.TooFast = 0
	return w
}

// setKeys makes the world seal with other keys.
func (w *world) setKeys(keys *seal.Keyring) {
	w.codec, w.deps.Keyring = record.NewCodec(keys, w.client.Topics()), keys
}

// house is a running tracker.
type house struct {
	w    *world
	svc  *tracker.Service
	api  trackerv1.TrackerServiceClient
	stop func()
}

// start runs a tracker until the test ends, or stop is called.
func (w *world) start() *house {
	w.t.Helper()
	listener := rpc.Memory()
	deps := w.deps
	deps.Listener = listener
	svc, err := tracker.New(w.t.Context(), deps, w.cfg)
	if err != nil {
		w.t.Fatalf("New() = %v", err)
	}
	if err := svc.Part().Start(w.t.Context()); err != nil {
		w.t.Fatalf("Start() = %v", err)
	}
	conn, err := rpc.Dial(rpc.ClientConfig{Target: "tracker"}, rpc.ClientDeps{Telemetry: w.deps.Telemetry, Dialer: listener.DialContext})
	if err != nil {
		w.t.Fatalf("Dial() = %v", err)
	}
	var once sync.Once
	h := &house{w: w, svc: svc, api: trackerv1.NewTrackerServiceClient(conn)}
	h.stop = func() {
		once.Do(func() {
			_ = conn.Close()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), 20*time.Second)
			defer cancel()
			if err := svc.Part().Stop(ctx); err != nil {
				w.t.Errorf("Stop() = %v", err)
			}
		})
	}
	w.t.Cleanup(h.stop)
	return h
}

// produce sends events on their way: finals and attempts to the lane's outcome
// topic, the others to the events topic.
func (w *world) produce(events ...*eventsv1.Event) {
	w.t.Helper()
	for _, ev := range events {
		w.send(w.message(ev))
	}
}

// enqueue is produce without waiting.
func (w *world) enqueue(events ...*eventsv1.Event) {
	w.t.Helper()
	for _, ev := range events {
		if err := w.producer.Enqueue(w.message(ev), nil); err != nil {
			w.t.Fatalf("Enqueue = %v", err)
		}
	}
}

func (w *world) message(ev *eventsv1.Event) broker.Message {
	w.t.Helper()
	msg, err := w.codec.Event(ev)
	if ev.GetAttemptDetail() != nil {
		msg, err = w.codec.Outcome(ev, 1)
	}
	if err != nil {
		w.t.Fatalf("encoding %v = %v", ev.GetType(), err)
	}
	return msg
}

func (w *world) send(msg broker.Message) {
	w.t.Helper()
	if _, err := w.producer.Produce(w.t.Context(), msg); err != nil {
		w.t.Fatalf("Produce(%s) = %v", msg.Topic, err)
	}
}

// eventually polls until ok, for half a minute at most.
func eventually[T any](t *testing.T, what string, get func() (T, error), ok func(T) bool) T {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := get()
		if err == nil && ok(got) {
			return got
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: last answer %v, %v", what, got, err)
		}
	}
}

func (h *house) mail(tenant, id string, ok func(*trackerv1.GetMailResponse) bool) *trackerv1.GetMailResponse {
	h.w.t.Helper()
	ctx := rpc.WithTenant(h.w.t.Context(), tenant)
	return eventually(h.w.t, "GetMail "+id, func() (*trackerv1.GetMailResponse, error) {
		return h.api.GetMail(ctx, &trackerv1.GetMailRequest{MailId: id})
	}, ok)
}

func inState(s mailv1.State) func(*trackerv1.GetMailResponse) bool {
	return func(r *trackerv1.GetMailResponse) bool { return r.GetMail().GetState() == s }
}

// fetch asks the public door.
func (h *house) fetch(method, path string, header http.Header, body io.Reader) *http.Response {
	h.w.t.Helper()
	req, err := http.NewRequestWithContext(h.w.t.Context(), method, "http://"+h.svc.HTTPAddr().String()+path, body)
	if err != nil {
		h.w.t.Fatalf("NewRequest(%s) = %v", path, err)
	}
	req.Header = header
	if header == nil {
		req.Header = http.Header{"User-Agent": {browser}}
	}
	c := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := c.Do(req)
	if err != nil {
		h.w.t.Fatalf("%s %s = %v", method, path, err)
	}
	h.w.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

const browser = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"

// letter makes the events of one mail.
type letter struct {
	id, tenant, lane, invoice string
	kind                      mailv1.Kind
	at                        time.Time
}

func bill(n int) letter {
	return letter{
		id: fmt.Sprintf("01900000-0000-7000-8000-%012d", n), tenant: "default", lane: "billing", invoice: fmt.Sprintf("INV-%d", n),
		kind: mailv1.Kind_KIND_BILL, at: time.Now().Add(-time.Hour).Add(time.Duration(n) * time.Millisecond).UTC(),
	}
}

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func (l letter) event(t eventsv1.EventType, attempt uint32, after time.Duration) *eventsv1.Event {
	ev := &eventsv1.Event{
		EventId: record.EventID(l.id, attempt, 0, t), Type: t, MailId: l.id, Tenant: l.tenant, Lane: l.lane, Attempt: attempt,
		OccurredAt: timestamppb.New(l.at.Add(after)), Traceparent: traceparent,
		Facts: &eventsv1.MailFacts{
			Kind: l.kind, Template: "bill", TemplateVersion: "1", InvoiceId: l.invoice, Recipient: "Budi@Example.co.id",
			SenderDomain: "shop.example", Tracked: true, Campaign: "november",
			Amount: &mailv1.Money{CurrencyCode: "IDR", Units: 150_000}, DueOn: &mailv1.Date{Year: 2026, Month: 12, Day: 1},
		},
	}
	switch t {
	case eventsv1.EventType_EVENT_TYPE_ACCEPTED:
		ev.Detail = &eventsv1.Event_Acceptance{Acceptance: &eventsv1.Acceptance{ExpiresAt: timestamppb.New(l.at.Add(time.Hour))}}
	case eventsv1.EventType_EVENT_TYPE_RELEASED:
		ev.Detail = &eventsv1.Event_Note{Note: &eventsv1.Note{Reason: "due"}}
	default:
		ev.Detail = &eventsv1.Event_AttemptDetail{AttemptDetail: &eventsv1.Attempt{Host: "mx.example.co.id", Code: 250}}
	}
	return ev
}

func (l letter) accepted() *eventsv1.Event {
	return l.event(eventsv1.EventType_EVENT_TYPE_ACCEPTED, 0, 0)
}

func (l letter) delivered() *eventsv1.Event {
	return l.event(eventsv1.EventType_EVENT_TYPE_DELIVERED, 1, time.Second)
}

func (l letter) claims(link, url string) token.Claims {
	return token.Claims{Tenant: l.tenant, MailID: l.id, Link: link, URL: url}
}

// router is a RouterService that remembers what it was asked, and answers
// UNAVAILABLE as long as it is told to.
type router struct {
	routerv1.RouterServiceClient // the rest is never called

	calls chan proto.Message
	mu    sync.Mutex
	away  bool
}

func (r *router) setAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

func (r *router) take(m proto.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return fault.Newf(fault.Unavailable, faultv1.Reason_REASON_NOT_READY, "away")
	}
	r.calls <- m
	return nil
}

func (r *router) Cancel(_ context.Context, in *routerv1.CancelRequest, _ ...grpc.CallOption) (*routerv1.CancelResponse, error) {
	return &routerv1.CancelResponse{Cancelled: 2}, r.take(in)
}

func (r *router) AddSuppression(_ context.Context, in *routerv1.AddSuppressionRequest, _ ...grpc.CallOption) (*routerv1.AddSuppressionResponse, error) {
	return &routerv1.AddSuppressionResponse{Suppression: in.GetSuppression()}, r.take(in)
}
