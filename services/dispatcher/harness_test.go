package dispatcher_test

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/mxsim"
	recordcodec "kurir.dev/kit/record"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/topic"
	dispatcherv1 "kurir.dev/proto/gen/kurir/dispatcher/v1"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	"kurir.dev/services/dispatcher"
)

// yard is a dispatcher between a real broker and a small internet: one port
// for all mail hosts, each with a loopback address of its own.
type yard struct {
	tb       testing.TB
	kafka    *brokertest.Broker
	client   *broker.Client
	producer *broker.Producer
	codec    *recordcodec.Codec
	keys     *seal.Keyring
	tel      *telemetry.Telemetry
	dns      *mxsim.DNS
	port     int
	hosts    int
	cfg      dispatcher.Config
	serial   int

	// of the dispatcher that runs
	service *dispatcher.Service
	ready   *app.Ready
	gate    *gate.Gate // nil for one of its own
	api     dispatcherv1.DispatcherServiceClient
	stop    func()
}

// build gives a yard whose dispatcher does not run yet.
func build(tb testing.TB) *yard {
	tb.Helper()
	return buildOf(tb, 1)
}

// buildOf gives one whose topics have so many partitions, and lanes one of each
// band at least.
func buildOf(tb testing.TB, partitions int) *yard {
	tb.Helper()
	keys, err := seal.Generate()
	if err != nil {
		tb.Fatal(err)
	}
	names, err := mxsim.NewDNS("")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = names.Close() })
	y := &yard{tb: tb, kafka: brokertest.New(tb, nil), keys: keys, tel: telemetry.Discard(), dns: names, port: ownPort(tb)}
	y.client = y.kafka.Client(func(c *broker.Config) { c.Partitions = partitions })
	y.codec = recordcodec.NewCodec(keys, y.client.Topics())
	if err := y.client.EnsureTopics(tb.Context(), lane.Default().Names()); err != nil {
		tb.Fatal(err)
	}
	y.producer = broker.NewProducer(y.client, y.tel)
	tb.Cleanup(func() { _ = y.producer.Part().Stop(context.Background()) })
	y.cfg = dispatcher.Default()
	y.cfg.DNS.Servers, y.cfg.DNS.Timeout, y.cfg.DNS.Attempts, y.cfg.DNS.IPv6 = []string{names.Addr()}, time.Second, 1, false
	y.cfg.SMTP.EHLO, y.cfg.SMTP.Port, y.cfg.SMTP.AllowLoopback = "out.example.com", y.port, true
	y.cfg.Routes = []dispatcher.Route{{Type: dispatcher.RouteMX}}
	y.cfg.Lease = dispatcher.Lease{Heartbeat: 200 * time.Millisecond, Session: 2 * time.Second, Rebalance: 5 * time.Second, Drain: time.Second}
	return y
}

// setup gives a yard whose dispatcher is ready.
func setup(tb testing.TB) *yard {
	tb.Helper()
	y := build(tb)
	y.start()
	return y
}

// ownPort returns a port that no other test is given before this one has
// ended: it stays taken on 127.0.0.1, where no mail host is.
func ownPort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		tb.Fatal("no TCP address")
	}
	return addr.Port
}

// host opens a mail host under the yard's port and gives its name an address.
func (y *yard) host(name string, cfg mxsim.HostConfig) *mxsim.Host {
	y.tb.Helper()
	y.hosts++
	ip := "127.0.7." + strconv.Itoa(y.hosts)
	cfg.Name, cfg.Listen, cfg.Keep = name, net.JoinHostPort(ip, strconv.Itoa(y.port)), 1000
	h, err := mxsim.NewHost(cfg)
	if err != nil {
		y.tb.Fatal(err)
	}
	y.tb.Cleanup(func() { _ = h.Close() })
	y.dns.Host(name, ip)
	return h
}

// start starts a dispatcher; it stops with the test or by y.stop.
func (y *yard) start() {
	y.tb.Helper()
	y.ready = app.NewReady()
	wire := rpc.Memory()
	svc, err := dispatcher.New(y.tb.Context(), dispatcher.Deps{
		Telemetry: y.tel, Listener: wire, Broker: y.client, Keyring: y.keys, Ready: y.ready, Gate: y.gate,
	}, y.cfg)
	if err != nil {
		y.tb.Fatalf("New() = %v", err)
	}
	part := svc.Part()
	if err := part.Start(y.tb.Context()); err != nil {
		y.tb.Fatalf("Start() = %v", err)
	}
	conn, err := rpc.Dial(rpc.ClientConfig{Target: "passthrough:///dispatcher"}, rpc.ClientDeps{Telemetry: y.tel, Dialer: wire.DialContext})
	if err != nil {
		y.tb.Fatal(err)
	}
	y.service, y.api = svc, dispatcherv1.NewDispatcherServiceClient(conn)
	y.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := part.Stop(ctx); err != nil {
			y.tb.Errorf("Stop() = %v", err)
		}
		_ = conn.Close()
	})
	y.tb.Cleanup(y.stop)
}

// envelope is a mail for a recipient.
func (y *yard) envelope(laneName, to string) *eventsv1.MailEnvelope {
	y.serial++
	now := time.Now()
	l, _ := lane.Default().Lookup(laneName)
	return &eventsv1.MailEnvelope{
		MailId: "mail-" + strconv.Itoa(y.serial), Tenant: "acme", Lane: laneName, Attempt: 1, Recipient: to,
		ReturnDomain: "bounce.example.com", AcceptedAt: timestamppb.New(now), ExpiresAt: timestamppb.New(now.Add(l.Expiry)),
		Facts:   &eventsv1.MailFacts{Kind: mailv1.Kind_KIND_OTP, Recipient: to, SenderDomain: "example.com", MessageId: "<x@example.com>"},
		Content: &eventsv1.MailEnvelope_Message{Message: []byte("From: a@example.com\r\nTo: " + to + "\r\nSubject: hi\r\n\r\nYour code is 123456.\r\n")},
	}
}

// mail is a mail's record in a band of its lane.
func (y *yard) mail(e *eventsv1.MailEnvelope, b topic.Band) (broker.Message, error) {
	m, err := y.codec.Mail(e)
	if err == nil {
		m.Partition, err = y.producer.PartitionIn(m.Topic, m.Key, b)
	}
	return m, err
}

// submit puts a mail onto its lane.
func (y *yard) submit(e *eventsv1.MailEnvelope) *eventsv1.MailEnvelope {
	y.tb.Helper()
	m, err := y.mail(e, topic.Ordinary)
	if err != nil {
		y.tb.Fatal(err)
	}
	if _, err := y.producer.Produce(y.tb.Context(), m); err != nil {
		y.tb.Fatal(err)
	}
	return e
}

func (y *yard) send(laneName, to string) *eventsv1.MailEnvelope {
	y.tb.Helper()
	return y.submit(y.envelope(laneName, to))
}

// put puts a mail onto its lane without waiting; flush waits for all.
func (y *yard) put(e *eventsv1.MailEnvelope) {
	y.tb.Helper()
	y.putIn(topic.Ordinary, e)
}

// putIn is put for either band.
func (y *yard) putIn(b topic.Band, e *eventsv1.MailEnvelope) {
	y.tb.Helper()
	m, err := y.mail(e, b)
	if err != nil {
		y.tb.Fatal(err)
	}
	failed := func(_ broker.Position, err error) {
		if err != nil {
			y.tb.Errorf("putting a mail onto its lane: %v", err)
		}
	}
	if y.producer.Enqueue(m, failed) == nil {
		return
	}
	if _, err := y.producer.Produce(y.tb.Context(), m); err != nil { // the queue is full
		y.tb.Fatal(err)
	}
}

func (y *yard) enqueue(laneName, to string) {
	y.tb.Helper()
	y.put(y.envelope(laneName, to))
}

// flush waits until all that was put is acknowledged.
func (y *yard) flush() {
	y.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := y.producer.Part().Stop(ctx); err != nil {
		y.tb.Fatal(err)
	}
	p := broker.NewProducer(y.client, y.tel)
	y.tb.Cleanup(func() { _ = p.Part().Stop(context.Background()) })
	y.producer = p
}

// reader reads a topic's first partition from its beginning; of a lane that is
// the ordinary band.
func (y *yard) reader(name string) *kafka.Reader {
	y.tb.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: y.client.Bootstrap(), Dialer: y.client.Dialer(), Topic: name, Partition: 0,
		MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 100 * time.Millisecond,
	})
	y.tb.Cleanup(func() { _ = r.Close() })
	return r
}

// wait bounds a step of a test that should have happened long before.
const wait = 30 * time.Second

func fetch(tb testing.TB, r *kafka.Reader) custody.Record {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), wait)
	defer cancel()
	m, err := r.ReadMessage(ctx)
	if err != nil {
		tb.Fatalf("reading %s: %v", r.Config().Topic, err)
	}
	return record(m)
}

// record is a message as a consumer would hand it out.
func record(m kafka.Message) custody.Record {
	rec := custody.Record{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Time: m.Time}
	for _, h := range m.Headers {
		rec.Headers = append(rec.Headers, broker.Header{Key: h.Key, Value: h.Value})
	}
	return rec
}

// outcomes reads the outcomes of a lane one by one.
func (y *yard) outcomes(laneName string) func() *eventsv1.Event {
	r := y.reader(y.client.Topics().Outcome(laneName))
	return func() *eventsv1.Event {
		y.tb.Helper()
		ev, err := y.codec.OpenEvent(fetch(y.tb, r))
		if err != nil {
			y.tb.Fatal(err)
		}
		return ev
	}
}

// deferrals reads a lane's topic of deferred mail one by one.
func (y *yard) deferrals(laneName string) func() *eventsv1.Deferral {
	r := y.reader(y.client.Topics().Deferred(laneName))
	return func() *eventsv1.Deferral {
		y.tb.Helper()
		d, err := y.codec.OpenDeferral(fetch(y.tb, r))
		if err != nil {
			y.tb.Fatal(err)
		}
		return d
	}
}

// want checks an outcome's type and mail.
func want(tb testing.TB, ev *eventsv1.Event, e *eventsv1.MailEnvelope, t eventsv1.EventType) *eventsv1.Attempt {
	tb.Helper()
	if ev.GetMailId() != e.GetMailId() || ev.GetType() != t {
		tb.Fatalf("event %v of %s (%v), want %v of %s", ev.GetType(), ev.GetMailId(), ev.GetAttemptDetail(), t, e.GetMailId())
	}
	return ev.GetAttemptDetail()
}

// settled waits until the lane's group has committed up to an offset.
func (y *yard) settled(laneName string, offset int64) {
	y.tb.Helper()
	names := y.client.Topics()
	brokertest.Eventually(y.tb, func() bool {
		at, _ := brokertest.Committed(y.tb, y.client, "kurir.dispatcher."+laneName, names.Lane(laneName), 0)
		return at >= offset
	})
}

// allSettled waits until the lane's group has committed so many over all
// partitions.
func (y *yard) allSettled(laneName string, total int64) {
	y.tb.Helper()
	brokertest.Eventually(y.tb, func() bool {
		lag, err := y.client.Lag(y.tb.Context(), "kurir.dispatcher."+laneName, y.client.Topics().Lane(laneName))
		if err != nil {
			return false
		}
		at := lag[y.client.Topics().Lane(laneName)]
		return at.Put == total && at.Depth == 0
	})
}
