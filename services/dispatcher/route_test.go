package dispatcher_test

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/types/known/durationpb"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/mxsim"
	"kurir.dev/kit/telemetry"
	dispatcherv1 "kurir.dev/proto/gen/kurir/dispatcher/v1"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/dispatcher"
)

func TestSandboxIsTheDefault(t *testing.T) {
	t.Parallel()
	y := build(t)
	y.cfg.Routes = nil
	y.cfg.Sandbox.SMTPListen, y.cfg.Sandbox.PageListen = "127.0.0.1:0", "127.0.0.1:0"
	y.start()
	next := y.outcomes(lane.OTP)
	e := y.send(lane.OTP, "ana@example.org")
	if got := want(t, next(), e, delivered); got.GetRoute() != "sandbox" || got.GetSite() != "sandbox" {
		t.Errorf("%v, want the sandbox", got)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+y.service.SandboxPageAddr().String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "ana@example.org") {
		t.Errorf("the page lacks the mail: %v\n%s", err, body)
	}
}

func TestNoSandboxWhereNoRouteLeadsToIt(t *testing.T) {
	t.Parallel()
	y := setup(t)
	if y.service.SandboxAddr() != nil || y.service.SandboxPageAddr() != nil {
		t.Error("a sandbox listens that no route leads to")
	}
}

func TestSmartHost(t *testing.T) {
	t.Parallel()
	y := build(t)
	relay := y.host("relay.example", mxsim.HostConfig{Login: func(u, p string) bool { return u == "me" && p == "secret" }})
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	y.cfg.Routes = []dispatcher.Route{
		{Match: dispatcher.Match{Domain: "*.direct.example"}, Type: dispatcher.RouteMX},
		{Name: "relay", Type: dispatcher.RouteSmartHost, Hosts: []string{dead.Addr().String(), relay.Addr()}, User: "me", Password: "secret"},
	}
	y.start()
	next := y.outcomes(lane.Bulk)
	for range 10 {
		e := y.send(lane.Bulk, "ana@example.org")
		if got := want(t, next(), e, delivered); got.GetRoute() != "smarthost" || got.GetSite() != "relay" || got.GetHost() != relay.Addr() {
			t.Errorf("%v, want the relay that lives", got)
		}
	}
	if got := relay.Messages(); got[0].User != "me" {
		t.Errorf("the relay knows the client as %q", got[0].User)
	}
}

func TestLMTPRoute(t *testing.T) {
	t.Parallel()
	y := build(t)
	box := y.host("box.example", mxsim.HostConfig{LMTP: true})
	socket := filepath.Join(t.TempDir(), "lmtp.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // a socket in front of the server; ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", box.Addr())
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(back, c); _ = back.Close() }()
			go func() { _, _ = io.Copy(c, back); _ = c.Close() }()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	y.cfg.Routes = []dispatcher.Route{
		{Match: dispatcher.Match{Domain: "tcp.example"}, Type: dispatcher.RouteLMTP, Hosts: []string{box.Addr()}},
		{Type: dispatcher.RouteLMTP, Hosts: []string{"unix:" + socket}},
	}
	y.start()
	next := y.outcomes(lane.Bulk)
	for _, to := range []string{"ana@tcp.example", "ana@unix.example"} {
		e := y.send(lane.Bulk, to)
		if got := want(t, next(), e, delivered); got.GetRoute() != "lmtp" {
			t.Errorf("%v, want lmtp", got)
		}
	}
}

func TestBrokenTLSIsRemembered(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{Extensions: []string{"PIPELINING", "STARTTLS"}, Script: mxsim.At(mxsim.StartTLS, mxsim.Reply{Raw: "220 go\r\n", Close: true})})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.OTP)
	e := y.send(lane.OTP, "ana@example.org")
	if got := want(t, next(), e, delivered); got.GetTls() != "" {
		t.Errorf("%v, want it in the clear", got)
	}
	if mx.Stats().Connections != 2 {
		t.Errorf("%d connections, want 2", mx.Stats().Connections)
	}
}

func TestMailIsNotSentToThisMachine(t *testing.T) {
	t.Parallel()
	y := build(t)
	y.cfg.SMTP.AllowLoopback = false
	y.start()
	mx := y.host("mx.example.org", mxsim.HostConfig{})
	y.dns.MX("example.org", "mx.example.org")
	y.dns.Host("private.example.org", "10.1.2.3")
	y.dns.MX("private.example", "private.example.org")
	next := y.outcomes(lane.OTP)
	for _, to := range []string{"ana@example.org", "ana@private.example"} {
		e := y.send(lane.OTP, to)
		if got := want(t, next(), e, bounced); got.GetEnhancedCode() != "5.4.6" || got.GetText() == "" {
			t.Errorf("to %s: %v, want refused as a loop", to, got)
		}
	}
	if mx.Stats().Connections != 0 {
		t.Error("a connection was made")
	}
}

func TestSMTPUTF8TriesTheNextHost(t *testing.T) {
	t.Parallel()
	y := setup(t)
	y.host("old.example.org", mxsim.HostConfig{Extensions: []string{}})
	y.host("new.example.org", mxsim.HostConfig{})
	y.dns.MX("example.org", "old.example.org", "new.example.org")
	y.dns.MX("old.example", "old.example.org")
	next := y.outcomes(lane.OTP)
	e := y.envelope(lane.OTP, "aña@example.org")
	e.Smtputf8 = true
	y.submit(e)
	if got := want(t, next(), e, delivered); got.GetHost() != "new.example.org" {
		t.Errorf("%v, want the host that can", got)
	}
	e = y.envelope(lane.OTP, "aña@old.example")
	e.Smtputf8 = true
	y.submit(e)
	if got := want(t, next(), e, bounced); got.GetEnhancedCode() != "5.6.7" {
		t.Errorf("%v, want 5.6.7", got)
	}
}

func TestSessionsAreReused(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.OTP)
	for range 20 {
		e := y.send(lane.OTP, "ana@example.org")
		want(t, next(), e, delivered)
	}
	// An outcome may be read before its worker is idle again; then the next
	// mail opens one more.
	if got := mx.Stats().Connections; got > 4 {
		t.Errorf("%d connections for 20 mails one after another, want them reused", got)
	}
	mx.Disconnect() // a session that died unseen costs nothing
	e := y.send(lane.OTP, "ana@example.org")
	if got := want(t, next(), e, delivered); got.GetPossibleDuplicate() {
		t.Errorf("%v", got)
	}
}

func TestCodesPassAFlood(t *testing.T) {
	t.Parallel()
	y := build(t)
	y.cfg.Sites.Connections, y.cfg.Sites.Initial, y.cfg.Sites.Reserved = 4, 4, 1
	y.start()
	release := make(chan struct{})
	y.host("mx.example.org", mxsim.HostConfig{Script: func(e mxsim.Event) mxsim.Reply {
		if e.Stage == mxsim.Rcpt && e.Arg == "bulk@example.org" {
			<-release
		}
		return mxsim.Reply{}
	}})
	y.dns.MX("example.org", "mx.example.org")
	for range 200 {
		y.send(lane.Bulk, "bulk@example.org")
	}
	next := y.outcomes(lane.OTP)
	for range 10 {
		e := y.send(lane.OTP, "ana@example.org")
		want(t, next(), e, delivered) // though every other connection is held
	}
	close(release)
	y.settled(lane.Bulk, 200)
}

func TestSlowSitesHideNobody(t *testing.T) {
	t.Parallel()
	y := build(t)
	y.cfg.Budgets = map[string]dispatcher.Budget{lane.Bulk: {Outstanding: 100, Bytes: 1 << 20, Workers: 50, Lookups: 10}}
	y.cfg.Sites.Queue = 10
	y.start()
	slow := y.host("slow.example.org", mxsim.HostConfig{Script: mxsim.At(mxsim.Greeting, mxsim.Reply{Delay: time.Hour})})
	y.host("fast.example.org", mxsim.HostConfig{})
	y.dns.MX("slow.example", "slow.example.org")
	y.dns.MX("fast.example", "fast.example.org")
	next, wait := y.outcomes(lane.Bulk), y.deferrals(lane.Bulk)
	for range 300 {
		y.send(lane.Bulk, "ana@slow.example")
	}
	last := y.send(lane.Bulk, "ana@fast.example")
	d := wait()
	if d.GetSite() != "slow.example.org" || d.GetEnvelope().GetTries() != 0 || time.Until(d.GetDueAt().AsTime()) < 20*time.Second {
		t.Errorf("deferral %v, want its turn at the slow site, untried", d)
	}
	for {
		if ev := next(); ev.GetMailId() == last.GetMailId() {
			want(t, ev, last, delivered)
			break
		}
	}
	if slow.Stats().Mails != 0 {
		t.Error("the slow host took mail")
	}
}

func TestRecordsThatDoNotOpen(t *testing.T) {
	t.Parallel()
	y := setup(t)
	names := y.client.Topics()
	if _, err := y.producer.Produce(t.Context(), broker.Message{Topic: names.Lane(lane.OTP), Partition: 0, Key: []byte("x"), Value: []byte("rubbish")}); err != nil {
		t.Fatal(err)
	}
	foreign := y.envelope(lane.Bulk, "ana@example.org")
	m, err := y.codec.Mail(foreign)
	if err != nil {
		t.Fatal(err)
	}
	m.Topic, m.Partition = names.Lane(lane.OTP), 0
	if _, err := y.producer.Produce(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	dead := y.reader(names.Dead())
	fetch(t, dead)
	fetch(t, dead)
	y.settled(lane.OTP, 2)
}

func TestOneTrace(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	y := build(t)
	tel, err := telemetry.New(t.Context(), "dispatcher", "test", telemetry.Default(), telemetry.WithWriter(io.Discard), telemetry.WithSpanProcessor(sdktrace.SpanProcessor(spans)))
	if err != nil {
		t.Fatal(err)
	}
	y.tel = tel
	y.start()
	y.host("mx.example.org", mxsim.HostConfig{})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.OTP)
	e := y.envelope(lane.OTP, "ana@example.org")
	e.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	y.submit(e)
	ev := next()
	want(t, ev, e, delivered)
	y.settled(lane.OTP, 1)
	if !strings.Contains(ev.GetTraceparent(), "0af7651916cd43dd8448eb211c80319c") {
		t.Errorf("traceparent %q is of another trace", ev.GetTraceparent())
	}
	parents := map[string]string{}
	ids := map[string]string{}
	for _, s := range spans.Ended() {
		if s.SpanContext().TraceID().String() == "0af7651916cd43dd8448eb211c80319c" {
			ids[s.SpanContext().SpanID().String()] = s.Name()
			parents[s.Name()] = s.Parent().SpanID().String()
			for _, a := range s.Attributes() {
				if strings.Contains(a.Value.String(), "ana@") || strings.Contains(a.Value.String(), "123456") {
					t.Errorf("span %s says %v", s.Name(), a)
				}
			}
		}
	}
	if parents["deliver"] != "b7ad6b7169203331" {
		t.Errorf("deliver hangs on %q, want the caller's span", parents["deliver"])
	}
	for _, name := range []string{"dns", "connect", "smtp attempt"} {
		if ids[parents[name]] != "deliver" {
			t.Errorf("%s hangs on %q, want deliver", name, ids[parents[name]])
		}
	}
}

func TestService(t *testing.T) {
	t.Parallel()
	y := setup(t)
	y.host("mx.example.org", mxsim.HostConfig{})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.Bulk)
	e := y.send(lane.Bulk, "ana@example.org")
	want(t, next(), e, delivered)
	sites, err := y.api.ListSites(t.Context(), &dispatcherv1.ListSitesRequest{})
	if err != nil || len(sites.GetSites()) != 1 || sites.GetSites()[0].GetName() != "mx.example.org" {
		t.Fatalf("ListSites = %v, %v", sites, err)
	}
	one, err := y.api.GetSite(t.Context(), &dispatcherv1.GetSiteRequest{Name: "mx.example.org"})
	if err != nil || len(one.GetHosts()) != 1 || one.GetHosts()[0].GetAddresses()[0] != "127.0.7.1" || one.GetSite().GetConnectionLimit() != 20 {
		t.Errorf("GetSite = %v, %v", one, err)
	}
	conns, err := y.api.ListConnections(t.Context(), &dispatcherv1.ListConnectionsRequest{Site: "mx.example.org"})
	if err != nil || len(conns.GetConnections()) != 1 || conns.GetConnections()[0].GetMails() != 1 {
		t.Fatalf("ListConnections = %v, %v", conns, err)
	}
	if _, err := y.api.CloseConnection(t.Context(), &dispatcherv1.CloseConnectionRequest{Id: conns.GetConnections()[0].GetId()}); err != nil {
		t.Errorf("CloseConnection: %v", err)
	}
	egress, err := y.api.ListEgress(t.Context(), &dispatcherv1.ListEgressRequest{})
	if err != nil || egress.GetEgress()[0].GetEhlo() != "out.example.com" || len(egress.GetEgress()[0].GetLanes()) != 4 {
		t.Errorf("ListEgress = %v, %v", egress, err)
	}
	wait := y.deferrals(lane.Bulk)
	stopped, err := y.api.SuspendSite(t.Context(), &dispatcherv1.SuspendSiteRequest{Name: "mx.example.org", Period: durationpb.New(time.Minute)})
	if err != nil || stopped.GetSite().GetSuspendedUntil() == nil {
		t.Errorf("SuspendSite = %v, %v", stopped, err)
	}
	e = y.send(lane.Bulk, "ana@example.org")
	want(t, next(), e, deferred)
	if d := wait(); time.Until(d.GetDueAt().AsTime()) > time.Minute {
		t.Errorf("deferral %v, want it due when the suspension ends", d)
	}
	if _, err := y.api.ResumeSite(t.Context(), &dispatcherv1.ResumeSiteRequest{Name: "mx.example.org"}); err != nil {
		t.Errorf("ResumeSite: %v", err)
	}
	e = y.send(lane.Bulk, "ana@example.org")
	want(t, next(), e, delivered)
	for name, err := range map[string]error{
		"NotFound": func() error {
			_, err := y.api.GetSite(t.Context(), &dispatcherv1.GetSiteRequest{Name: "none"})
			return err
		}(),
		"Unimplemented": func() error {
			_, err := y.api.RestEgress(t.Context(), &dispatcherv1.RestEgressRequest{Name: "default", Period: durationpb.New(time.Minute)})
			return err
		}(),
	} {
		if err == nil {
			t.Errorf("want %s, got no error", name)
		}
	}
}

func TestExpiredOutcomeKeepsTheLastReply(t *testing.T) {
	t.Parallel()
	y := build(t)
	y.cfg.LaneTable[0].Ladder = []time.Duration{time.Hour}
	y.start()
	y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.At(mxsim.Rcpt, mxsim.Reply{Code: 451, Text: "4.3.0 not now"})})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.OTP)
	e := y.send(lane.OTP, "ana@example.org")
	if got := want(t, next(), e, expired); got.GetCode() != 451 || got.GetCategory() != eventsv1.Category_CATEGORY_EXPIRED {
		t.Errorf("%v, want expired after a 451", got)
	}
}
