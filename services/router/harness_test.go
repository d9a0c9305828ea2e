package router_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/dbtest"
	"kurir.dev/kit/record"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/router"
)

// house is a router with a real broker and a real store around it, and a clock
// that stands still unless it is moved.
type house struct {
	tb     testing.TB
	kafka  *brokertest.Broker
	client *broker.Client
	codec  *record.Codec
	keys   *seal.Keyring
	cfg    router.Config
	tel    *telemetry.Telemetry

	mu  sync.Mutex
	now time.Time

	// of the router that runs
	api   routerv1.RouterServiceClient
	ready *app.Ready
	stop  func()
}

// setup gives a house whose router is ready.
func setup(tb testing.TB) *house {
	tb.Helper()
	h := build(tb)
	h.start()
	h.await(true)
	return h
}

// build gives a house whose router does not run yet.
func build(tb testing.TB) *house {
	tb.Helper()
	keys, err := seal.Generate()
	if err != nil {
		tb.Fatalf("Generate() = %v", err)
	}
	h := &house{tb: tb, kafka: brokertest.New(tb, nil), keys: keys, tel: telemetry.Discard(), cfg: router.Default()}
	h.now = time.Now().UTC().Truncate(time.Second)
	h.client = h.kafka.Client(func(c *broker.Config) { c.Partitions, c.ProduceTimeout = 1, 30*time.Second })
	h.codec = record.NewCodec(keys, h.client.Topics())
	h.cfg.Store.URL = dbtest.SQLite(tb)
	h.cfg.Waiting.Poll = 5 * time.Millisecond
	return h
}

// start starts a router; it stops with the test or by h.stop.
func (h *house) start() {
	h.tb.Helper()
	h.ready = app.NewReady()
	wire := rpc.Memory()
	svc, err := router.New(h.tb.Context(), router.Deps{
		Telemetry: h.tel, Listener: wire, Broker: h.client, Keyring: h.keys, Ready: h.ready, Now: h.clock,
	}, h.cfg)
	if err != nil {
		h.tb.Fatalf("New() = %v", err)
	}
	part := svc.Part()
	if err := part.Start(h.tb.Context()); err != nil {
		h.tb.Fatalf("Start() = %v", err)
	}
	conn, err := rpc.Dial(rpc.ClientConfig{Target: "passthrough:///router"},
		rpc.ClientDeps{Telemetry: h.tel, Dialer: wire.DialContext})
	if err != nil {
		h.tb.Fatalf("Dial() = %v", err)
	}
	h.api = routerv1.NewRouterServiceClient(conn)
	h.tb.Cleanup(func() { _ = conn.Close() }) // after stop: callers hear what a router that stops says
	h.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(h.tb.Context()), 20*time.Second)
		defer cancel()
		if err := part.Stop(ctx); err != nil {
			h.tb.Errorf("Stop() = %v", err)
		}
	})
	h.tb.Cleanup(h.stop)
}

// await waits until the router is ready, or not ready.
func (h *house) await(want bool) {
	h.tb.Helper()
	for {
		changed := h.ready.Changed()
		ok, why := h.ready.OK()
		if ok == want {
			return
		}
		select {
		case <-changed:
		case <-h.tb.Context().Done():
			h.tb.Fatalf("ready is %v (%s), want %v", ok, why, want)
		}
	}
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// pass lets time pass.
func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// bill is a submission of a bill.
func (h *house) bill(key string) *routerv1.Submission {
	return &routerv1.Submission{
		MailId: uuid.Must(uuid.NewV7()).String(), Tenant: "acme", IdempotencyKey: key, Fingerprint: []byte("print"),
		ReturnDomain: "bounce.acme.example", Recipient: "budi@example.com", Message: []byte("Subject: bill\r\n\r\npay\r\n"),
		Facts: &eventsv1.MailFacts{
			Kind: mailv1.Kind_KIND_BILL, Template: "bill", InvoiceId: "INV-1", MessageId: "<x@acme.example>", Recipient: "budi@example.com",
		},
	}
}

// later is a bill that is due in an hour.
func (h *house) later(key string) *routerv1.Submission {
	s := h.bill(key)
	s.SendAt = timestamppb.New(h.clock().Add(time.Hour))
	return s
}

func (h *house) submit(s *routerv1.Submission) *mailv1.Receipt {
	h.tb.Helper()
	resp, err := h.api.Submit(h.tb.Context(), &routerv1.SubmitRequest{Submission: s})
	if err != nil {
		h.tb.Fatalf("Submit(%s) = %v", s.GetIdempotencyKey(), err)
	}
	return resp.GetReceipt()
}

// tape reads a partition from its beginning.
type tape struct {
	h      *house
	reader *kafka.Reader
}

// tape reads the first partition of a topic, which is the ordinary band of lanes.
func (h *house) tape(topic string) *tape { return h.partition(topic, 0) }

func (h *house) partition(topic string, n int) *tape {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: h.client.Bootstrap(), Dialer: h.client.Dialer(), Topic: topic, Partition: n, MinBytes: 1, MaxBytes: 1 << 20,
		MaxWait: 100 * time.Millisecond, ReadBackoffMin: 10 * time.Millisecond,
	})
	h.tb.Cleanup(func() { _ = r.Close() })
	return &tape{h: h, reader: r}
}

func (t *tape) next() custody.Record {
	t.h.tb.Helper()
	m, err := t.reader.ReadMessage(t.h.tb.Context())
	if err != nil {
		t.h.tb.Fatalf("ReadMessage() = %v", err)
	}
	return custody.Record{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value}
}

// mail is the next lane record, opened.
func (t *tape) mail() *eventsv1.MailEnvelope {
	t.h.tb.Helper()
	e, err := t.h.codec.OpenMail(t.next())
	if err != nil {
		t.h.tb.Fatalf("OpenMail() = %v", err)
	}
	return e
}

// until is the next event of the kind, those between passed over.
func (t *tape) until(want eventsv1.EventType) *eventsv1.Event {
	t.h.tb.Helper()
	for {
		ev, err := t.h.codec.OpenEvent(t.next())
		if err != nil {
			t.h.tb.Fatalf("OpenEvent() = %v", err)
		}
		if ev.GetType() == want {
			return ev
		}
	}
}

func (h *house) lane(name string) *tape { return h.tape(h.client.Topics().Lane(name)) }
func (h *house) events() *tape          { return h.tape(h.client.Topics().Events()) }

// aside reads the overflow band of a lane.
func (h *house) aside(name string) *tape { return h.partition(h.client.Topics().Lane(name), 1) }
