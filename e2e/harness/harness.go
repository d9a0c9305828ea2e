// Package harness runs a whole mesh for end-to-end scenarios, with an internet
// of its own: DNS zones, scripted mail hosts, and foreign servers beside them.
//
// A scenario is written once. The flag -runner chooses whether the mesh runs
// inside the test process or as the five programs a production has, the flag
// -broker whether on the embedded broker or on Apache Kafka.
package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	"kurir.dev/kit/broker/brokertest/apache"
	"kurir.dev/kit/mxsim"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	dispatcherv1 "kurir.dev/proto/gen/kurir/dispatcher/v1"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

var runner = flag.String("runner", "inprocess", "how the mesh runs: inprocess or processes")

// Mesh is a running mesh and the internet it sends to.
type Mesh struct {
	// DNS is the only name server the mesh asks.
	DNS *mxsim.DNS
	// Mail, Router, Dispatcher and Tracker are clients of the services.
	Mail       mailv1.MailServiceClient
	Router     routerv1.RouterServiceClient
	Dispatcher dispatcherv1.DispatcherServiceClient
	Tracker    trackerv1.TrackerServiceClient
	// Kafka is the broker, when it is Apache Kafka and the mesh's own.
	Kafka *apache.Cluster

	network string // the first three bytes of every host's address
	port    int
	hosts   atomic.Int32
	doors   map[string]string // listening addresses by name
	runs    deployment
}

// deployment is how the services run: in process, or as processes.
type deployment interface {
	// restart stops the named service in good order and starts it anew.
	restart(ctx context.Context, service string) error
}

// internet makes a mesh that has its internet and no services yet.
func internet(t *testing.T) *Mesh {
	t.Helper()
	dns, err := mxsim.NewDNS("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	return &Mesh{DNS: dns, network: fmt.Sprintf("127.%d.%d", 16+rand.IntN(200), rand.IntN(255)), port: freePort(t)}
}

// Start runs a mesh until the end of the test.
func Start(t *testing.T, opts Options) *Mesh {
	t.Helper()
	m := internet(t)
	m.doors = openDoors(t)
	cfg := config(t.TempDir(), m.DNS.Addr(), m.port, m.doors, opts)
	m.kafka(t, &cfg, opts)
	switch {
	case opts.Processes || *runner == "processes":
		m.runs = asProcesses(t, cfg, m.doors, m.Kafka, opts.Without...)
	case *runner == "inprocess":
		m.runs = inProcess(t, cfg)
	default:
		t.Fatalf("-runner %q is neither inprocess nor processes", *runner)
	}
	m.connect(t)
	return m
}

// connect makes the clients of the services.
func (m *Mesh) connect(t *testing.T) {
	t.Helper()
	tel := telemetry.Discard()
	m.Mail = mailv1.NewMailServiceClient(m.dial(t, "composer", tel))
	m.Router = routerv1.NewRouterServiceClient(m.dial(t, "router", tel))
	m.Dispatcher = dispatcherv1.NewDispatcherServiceClient(m.dial(t, "dispatcher", tel))
	m.Tracker = trackerv1.NewTrackerServiceClient(m.dial(t, "tracker", tel))
}

// openDoors chooses a free port for everything that listens.
func openDoors(t *testing.T) map[string]string {
	t.Helper()
	doors := map[string]string{}
	for _, door := range []string{
		"composer", "router", "dispatcher", "tracker", "tracker-http",
		"broker-ops", "composer-ops", "router-ops", "dispatcher-ops", "tracker-ops",
	} {
		doors[door] = FreeAddress(t)
	}
	return doors
}

// dial connects to a service in the name of whoever t observes.
func (m *Mesh) dial(t *testing.T, service string, tel *telemetry.Telemetry) *grpc.ClientConn {
	t.Helper()
	conn, err := rpc.Dial(rpc.ClientConfig{Target: m.doors[service]}, rpc.ClientDeps{Telemetry: tel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ports hands out ports of loopback, each once. They are below those that
// systems hand out by themselves, so that no outgoing connection takes one
// before its owner does, and begin anywhere, so that test processes side by
// side are not likely to meet.
type ports struct {
	mu   sync.Mutex
	next int
}

const (
	leastPort = 10_000
	mostPort  = 20_000
)

var unused = ports{next: leastPort + rand.IntN(mostPort-leastPort)}

// free returns a port that nobody listened on a moment ago.
func (p *ports) free() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range mostPort - leastPort {
		port := p.next
		if p.next++; p.next == mostPort {
			p.next = leastPort
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := unused.free()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// FreeAddress returns a loopback address that was free a moment ago.
func FreeAddress(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
}

// BrokerAddress is where the services look for the broker, as errors and logs
// name it.
func (m *Mesh) BrokerAddress() string {
	if m.Kafka != nil {
		return m.Kafka.Addrs()[0]
	}
	return "kafka.sock"
}

// Host starts a mail host with an address and a name of its own, known to DNS.
func (m *Mesh) Host(t *testing.T, name string, cfg mxsim.HostConfig) *mxsim.Host {
	t.Helper()
	cfg.Name, cfg.Listen = name, m.Address()
	if cfg.Keep == 0 {
		cfg.Keep = 1000
	}
	host, err := mxsim.NewHost(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	ip, _, _ := net.SplitHostPort(cfg.Listen)
	m.DNS.Host(name, ip)
	return host
}

// Address returns an unused loopback address with the port that every MX host
// of this internet listens on.
func (m *Mesh) Address() string {
	return net.JoinHostPort(fmt.Sprintf("%s.%d", m.network, m.hosts.Add(1)), strconv.Itoa(m.port))
}

// Restart stops the named service in good order and starts it anew.
func (m *Mesh) Restart(t *testing.T, service string) {
	t.Helper()
	if err := m.runs.restart(t.Context(), service); err != nil {
		t.Fatalf("restarting %s: %v", service, err)
	}
}

// OTP sends a one-time password.
func (m *Mesh) OTP(t *testing.T, to string, change ...func(*mailv1.SendOtpRequest)) *mailv1.Receipt {
	t.Helper()
	req := &mailv1.SendOtpRequest{
		IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: to}, Code: "482913", ProductName: "Bank Contoh",
		Options: &mailv1.Options{Locale: "id-ID"},
	}
	for _, c := range change {
		c(req)
	}
	res, err := m.Mail.SendOtp(t.Context(), req)
	if err != nil {
		t.Fatalf("SendOtp(%q) = %v", to, err)
	}
	return res.GetReceipt()
}

// Invoice is a bill of one line.
func Invoice(id string) *mailv1.Bill {
	total := &mailv1.Money{CurrencyCode: "IDR", Units: 354_200}
	return &mailv1.Bill{
		InvoiceId: id, BillerName: "PT Contoh", CustomerName: "Ibu Sari", DueOn: &mailv1.Date{Year: 2030, Month: 12, Day: 5},
		LineItems: []*mailv1.LineItem{{Description: "Listrik", Amount: total}}, Total: total,
		PayUrl: "https://bayar.example/" + id,
	}
}

// Bill sends an e-bill about the invoice.
func (m *Mesh) Bill(t *testing.T, to, invoice string) *mailv1.Receipt {
	t.Helper()
	res, err := m.Mail.SendBill(t.Context(), &mailv1.SendBillRequest{
		IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: to}, Bill: Invoice(invoice),
		Options: &mailv1.Options{Locale: "id-ID"},
	})
	if err != nil {
		t.Fatalf("SendBill(%q) = %v", to, err)
	}
	return res.GetReceipt()
}

// Reminder sends a reminder of the invoice.
func (m *Mesh) Reminder(t *testing.T, to, invoice string, change ...func(*mailv1.SendReminderRequest)) *mailv1.Receipt {
	t.Helper()
	req := &mailv1.SendReminderRequest{
		IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: to}, Bill: Invoice(invoice), Step: "due-3", DaysUntilDue: 3,
		Options: &mailv1.Options{Locale: "en"},
	}
	for _, c := range change {
		c(req)
	}
	res, err := m.Mail.SendReminder(t.Context(), req)
	if err != nil {
		t.Fatalf("SendReminder(%q) = %v", to, err)
	}
	return res.GetReceipt()
}

// Bulk sends a generic mail.
func (m *Mesh) Bulk(t *testing.T, to string) *mailv1.Receipt {
	t.Helper()
	res, err := m.Mail.Send(t.Context(), &mailv1.SendRequest{
		IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: to},
		Content: &mailv1.Content{Subject: "Kabar", Text: "Halo.\n"},
	})
	if err != nil {
		t.Fatalf("Send(%q) = %v", to, err)
	}
	return res.GetReceipt()
}

// finals are the types of events that end a mail.
var finals = map[eventsv1.EventType]bool{
	eventsv1.EventType_EVENT_TYPE_DELIVERED: true, eventsv1.EventType_EVENT_TYPE_BOUNCED: true,
	eventsv1.EventType_EVENT_TYPE_EXPIRED: true, eventsv1.EventType_EVENT_TYPE_CANCELLED: true,
	eventsv1.EventType_EVENT_TYPE_SUPPRESSED: true,
}

// Final waits for the mail's final event and fails the test if it is not of
// the wanted type, or not the only one.
func (m *Mesh) Final(t *testing.T, mailID string, want eventsv1.EventType) *eventsv1.Event {
	t.Helper()
	var final *eventsv1.Event
	Eventually(t, func() error {
		res, err := m.Tracker.GetMail(t.Context(), &trackerv1.GetMailRequest{MailId: mailID})
		if err != nil {
			return err
		}
		final = nil
		for _, ev := range res.GetTimeline() {
			if !finals[ev.GetType()] {
				continue
			}
			if final != nil {
				t.Fatalf("mail %s has two final events: %v and %v", mailID, final.GetType(), ev.GetType())
			}
			final = ev
		}
		if final == nil {
			return fmt.Errorf("mail %s has no final event: %v", mailID, types(res.GetTimeline()))
		}
		return nil
	})
	if final.GetType() != want {
		t.Fatalf("mail %s ended in %v (%v), want %v", mailID, final.GetType(), final.GetAttemptDetail(), want)
	}
	return final
}

// Event waits for an event of the mail.
func (m *Mesh) Event(t *testing.T, mailID string, want eventsv1.EventType) *eventsv1.Event {
	t.Helper()
	var found *eventsv1.Event
	Eventually(t, func() error {
		res, err := m.Tracker.GetMail(t.Context(), &trackerv1.GetMailRequest{MailId: mailID})
		if err != nil {
			return err
		}
		for _, ev := range res.GetTimeline() {
			if ev.GetType() == want {
				found = ev
				return nil
			}
		}
		return fmt.Errorf("mail %s has no %v: %v", mailID, want, types(res.GetTimeline()))
	})
	return found
}

func types(events []*eventsv1.Event) []string {
	names := make([]string, len(events))
	for i, ev := range events {
		names[i] = ev.GetType().String()
	}
	return names
}
