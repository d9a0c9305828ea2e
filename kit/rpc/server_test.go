package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"kurir.dev/kit/app"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// syncBuffer is a bytes.Buffer that a server may write while the test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func observed(t *testing.T) (*telemetry.Telemetry, *syncBuffer, *tracetest.SpanRecorder) {
	t.Helper()
	log, spans := new(syncBuffer), tracetest.NewSpanRecorder()
	tel, err := telemetry.New(t.Context(), "composer", "v1", telemetry.Default(),
		telemetry.WithWriter(log), telemetry.WithSpanProcessor(spans))
	if err != nil {
		t.Fatal(err)
	}
	return tel, log, spans
}

func TestInternalErrorsStayAtHome(t *testing.T) {
	t.Parallel()
	const secret = "dial tcp 10.0.0.7: password hunter2 refused"
	tests := []struct {
		name string
		fail func() error
		log  string
	}{
		{"unclassified", func() error { return errors.New(secret) }, `"internal error"`},
		{"fault", func() error { return fault.Newf(fault.Internal, 0, "%s", secret).WithMeta("dsn", secret) }, `"internal error"`},
		{"panic", func() error { panic(secret) }, `"handler panicked"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tel, log, _ := observed(t)
			b := setup(t, &mails{
				otp: func(context.Context, *mailv1.SendOtpRequest) error { return tt.fail() },
				batch: func(grpc.BidiStreamingServer[mailv1.SendBatchRequest, mailv1.SendBatchResponse]) error {
					return tt.fail()
				},
			}, rpc.ServerConfig{}, rpc.ServerDeps{Telemetry: tel})
			_, unary := b.mail.SendOtp(t.Context(), goodOtp())
			stream := batch(t.Context(), b.mail, &mailv1.SendBatchRequest{})
			for _, err := range []error{unary, stream} {
				if !errors.Is(err, fault.Internal) || strings.Contains(err.Error(), "hunter2") {
					t.Fatalf("call = %v, want an internal error without its cause", err)
				}
				f := fault.From(err)
				if f.Msg != "internal error" || f.Reason != faultv1.Reason_REASON_INTERNAL || len(f.Meta) != 1 {
					t.Errorf("fault = %+v, want internal error with a trace id only", f)
				}
				var lines []string
				for line := range strings.Lines(log.String()) {
					if strings.Contains(line, f.Meta["trace_id"]) {
						lines = append(lines, line)
					}
				}
				if len(lines) != 1 || !strings.Contains(lines[0], tt.log) || !strings.Contains(lines[0], "hunter2") {
					t.Errorf("log lines of trace %q = %q, want one with the cause", f.Meta["trace_id"], lines)
				}
			}
			rec := httptest.NewRecorder()
			tel.Metrics.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
			want := map[bool]string{true: "} 2", false: "} 0"}[tt.name == "panic"]
			if !slices.ContainsFunc(strings.Split(rec.Body.String(), "\n"), func(l string) bool {
				return strings.HasPrefix(l, "kurir_composer_panics_total") && strings.HasSuffix("}"+l[strings.LastIndex(l, " "):], want)
			}) {
				t.Errorf("metrics lack kurir_composer_panics_total %s:\n%s", want, rec.Body)
			}
		})
	}
}

func TestUnbuiltMethodsAreUnimplemented(t *testing.T) {
	t.Parallel()
	b := setup(t, &mails{}, rpc.ServerConfig{}, rpc.ServerDeps{})
	_, known := b.mail.SendOtp(t.Context(), goodOtp())
	if got := fault.From(known).Reason; got != faultv1.Reason_REASON_NOT_IMPLEMENTED {
		t.Errorf("SendOtp() has the reason %v, want NOT_IMPLEMENTED", got)
	}
	for name, err := range map[string]error{
		"declared":        known,
		"declared stream": batch(t.Context(), b.mail, &mailv1.SendBatchRequest{}),
		"unknown method":  b.conn.Invoke(t.Context(), "/kurir.mail.v1.MailService/Fax", &emptypb.Empty{}, &emptypb.Empty{}),
		"unknown service": b.conn.Invoke(t.Context(), "/kurir.fax.v1.FaxService/Send", &emptypb.Empty{}, &emptypb.Empty{}),
	} {
		if !errors.Is(err, fault.Unimplemented) || status.Code(err) != codes.Unimplemented {
			t.Errorf("%s = %v, want UNIMPLEMENTED", name, err)
		}
	}
}

func TestValidation(t *testing.T) {
	t.Parallel()
	impl := &mails{
		otp: func(context.Context, *mailv1.SendOtpRequest) error { return nil },
		batch: func(s grpc.BidiStreamingServer[mailv1.SendBatchRequest, mailv1.SendBatchResponse]) error {
			for {
				req, err := s.Recv()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if err := s.Send(&mailv1.SendBatchResponse{Reference: req.GetReference()}); err != nil {
					return err
				}
			}
		},
	}
	b := setup(t, impl, rpc.ServerConfig{}, rpc.ServerDeps{})
	if _, err := b.mail.SendOtp(t.Context(), goodOtp()); err != nil {
		t.Errorf("SendOtp(good) = %v, want nil", err)
	}
	_, err := b.mail.SendOtp(t.Context(), &mailv1.SendOtpRequest{To: &mailv1.Address{Email: "a@b.id", DisplayName: strings.Repeat("x", 300)}, Code: "123456", ProductName: "x"})
	if !errors.Is(err, fault.Invalid) {
		t.Fatalf("SendOtp(bad) = %v, want Invalid", err)
	}
	names := fieldNames(err)
	if want := []string{"idempotency_key", "to.display_name"}; !slices.Equal(names, want) {
		t.Errorf("fields = %v, want %v", names, want)
	}
	if got := fault.From(err).Msg; !strings.HasPrefix(got, "idempotency_key: ") {
		t.Errorf("Msg = %q, want the first field named", got)
	}

	bad := &mailv1.SendBatchRequest{Reference: strings.Repeat("x", 500)}
	if err := batch(t.Context(), b.mail, bad); !errors.Is(err, fault.Invalid) || !slices.Contains(fieldNames(err), "reference") {
		t.Errorf("SendBatch(bad) = %v, want Invalid for reference", err)
	}
	own := setup(t, impl, rpc.ServerConfig{}, rpc.ServerDeps{OwnItems: []string{mailv1.MailService_SendBatch_FullMethodName}})
	if err := batch(t.Context(), own.mail, bad); err != nil {
		t.Errorf("SendBatch(bad) = %v, want nil where the handler validates", err)
	}
	if err := rpc.Validate(bad); !errors.Is(err, fault.Invalid) {
		t.Errorf("Validate(bad) = %v, want Invalid", err)
	}
}

func fieldNames(err error) []string {
	var names []string
	for _, f := range fault.From(err).Fields {
		names = append(names, f.Name)
	}
	return names
}

func TestHealthFollowsReadiness(t *testing.T) {
	t.Parallel()
	ready := app.NewReady()
	ready.Set("broker", false, "unreachable")
	b := setup(t, &mails{}, rpc.ServerConfig{}, rpc.ServerDeps{Ready: ready})
	client := healthv1.NewHealthClient(b.conn)
	for _, service := range []string{"", "kurir.mail.v1.MailService"} {
		watch, err := client.Watch(t.Context(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		await := func(want healthv1.HealthCheckResponse_ServingStatus) {
			t.Helper()
			for {
				got, err := watch.Recv()
				if err != nil {
					t.Fatalf("Watch(%q) = %v, want %v", service, err, want)
				}
				if got.GetStatus() == want {
					return
				}
			}
		}
		await(healthv1.HealthCheckResponse_NOT_SERVING)
		ready.Set("broker", true, "")
		await(healthv1.HealthCheckResponse_SERVING)
		ready.Set("broker", false, "gone")
		await(healthv1.HealthCheckResponse_NOT_SERVING)
	}
	_, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "none"})
	if !errors.Is(err, fault.NotFound) {
		t.Errorf("Check(none) = %v, want NotFound", err)
	}
}

func TestReflection(t *testing.T) {
	t.Parallel()
	auth, err := rpc.NewAuth(rpc.AuthConfig{Keys: []rpc.APIKey{{Tenant: "toko", SHA256: hash("k"), Scopes: []string{"send"}}}})
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, &mails{}, rpc.ServerConfig{}, rpc.ServerDeps{Auth: auth})
	s, err := reflectionv1.NewServerReflectionClient(b.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	resp, err := s.Recv()
	if err != nil {
		t.Fatalf("reflection = %v, want an answer without credentials", err)
	}
	var names []string
	for _, svc := range resp.GetListServicesResponse().GetService() {
		names = append(names, svc.GetName())
	}
	if !slices.Contains(names, "kurir.mail.v1.MailService") {
		t.Errorf("services = %v, want MailService among them", names)
	}
}

func TestCallsAreTracedAndHealthIsNot(t *testing.T) {
	t.Parallel()
	tel, _, spans := observed(t)
	b := setup(t, &mails{otp: func(context.Context, *mailv1.SendOtpRequest) error { return nil }},
		rpc.ServerConfig{}, rpc.ServerDeps{Telemetry: tel})
	conn, err := rpc.Dial(rpc.ClientConfig{Target: "memory"}, rpc.ClientDeps{Telemetry: tel, Dialer: b.memory.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	ctx, root := tel.Tracer("test").Start(t.Context(), "product")
	if _, err := mailv1.NewMailServiceClient(conn).SendOtp(ctx, goodOtp()); err != nil {
		t.Fatal(err)
	}
	root.End()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	byID := map[string]sdktrace.ReadOnlySpan{}
	var server sdktrace.ReadOnlySpan
	for _, s := range spans.Started() {
		byID[s.SpanContext().SpanID().String()] = s
		if strings.Contains(s.Name(), "ealth") {
			t.Errorf("span %q of a health check, want none", s.Name())
		}
		if s.Parent().IsRemote() {
			server = s
		}
	}
	if server == nil {
		t.Fatal("no server span with a remote parent")
	}
	client := byID[server.Parent().SpanID().String()]
	if client == nil || client.Parent().SpanID() != root.SpanContext().SpanID() {
		t.Errorf("server span hangs under %v, want product > client > server", client)
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	deps := rpc.ServerDeps{Service: "composer", Telemetry: telemetry.Discard()}
	first, err := rpc.NewServer(rpc.ServerConfig{Listen: "127.0.0.1:0"}, deps)
	if err != nil {
		t.Fatalf("NewServer() = %v, want nil", err)
	}
	live(t, first.Part())
	addr := first.Addr().String()
	_, err = rpc.NewServer(rpc.ServerConfig{Listen: addr}, deps)
	le, ok := errors.AsType[*app.ListenError](err)
	if !ok || le.Addr != addr || !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("NewServer(taken) = %v, want a ListenError", err)
	}
	unused, err2 := rpc.NewServer(rpc.ServerConfig{Listen: "127.0.0.1:0"}, deps)
	if err2 != nil {
		t.Fatal(err2)
	}
	if err := unused.Part().Stop(t.Context()); err != nil {
		t.Errorf("Stop(never started) = %v, want nil", err)
	}
	again, err2 := rpc.NewServer(rpc.ServerConfig{Listen: unused.Addr().String()}, deps)
	if err2 != nil {
		t.Fatalf("NewServer(address given up) = %v, want nil", err2)
	}
	if err := again.Part().Stop(t.Context()); err != nil {
		t.Errorf("Stop(never started) = %v, want nil", err)
	}
	want := "listen " + addr + ": address already in use: choose another with -listen or the key grpc.listen"
	if err.Error() != want {
		t.Errorf("NewServer(taken) = %q, want %q", err, want)
	}
}

func TestServerConfigFaults(t *testing.T) {
	t.Parallel()
	cfg := rpc.ServerConfig{MaxMessageBytes: -1, DefaultDeadline: -1, TLS: rpc.TLS{Cert: "x", Allow: []string{"a"}}}
	_, err := rpc.NewServer(cfg, rpc.ServerDeps{Service: "x", Telemetry: telemetry.Discard()})
	if err == nil {
		t.Fatal("NewServer(bad) = nil, want an error")
	}
	for _, want := range []string{"max_message_bytes", "default_deadline", "cert and key", "tls.allow"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("NewServer(bad) = %v, want %s named", err, want)
		}
	}
}

func TestStopLetsCallsEnd(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	memory, ready := rpc.Memory(), app.NewReady()
	srv, err := rpc.NewServer(rpc.ServerConfig{}, rpc.ServerDeps{
		Service: "composer", Telemetry: telemetry.Discard(), Listener: memory, Ready: ready,
	})
	if err != nil {
		t.Fatal(err)
	}
	if ok, why := ready.OK(); ok || why != "composer: starting" {
		t.Errorf("OK() = %v, %q before Start, want not ready", ok, why)
	}
	mailv1.RegisterMailServiceServer(srv, &mails{otp: func(context.Context, *mailv1.SendOtpRequest) error {
		close(entered)
		<-release
		return nil
	}})
	part := srv.Part()
	if err := part.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, why := ready.OK(); !ok {
		t.Errorf("OK() = %v, %q after Start, want ready", ok, why)
	}
	mail := mailv1.NewMailServiceClient(dial(t, memory, rpc.ClientConfig{}))
	result := make(chan error, 1)
	go func() {
		_, err := mail.SendOtp(context.WithoutCancel(t.Context()), goodOtp())
		result <- err
	}()
	<-entered
	stopped := make(chan error, 1)
	changed := ready.Changed()
	go func() { stopped <- part.Stop(context.WithoutCancel(t.Context())) }()
	<-changed
	if ok, why := ready.OK(); ok || why != "composer: stopping" {
		t.Errorf("OK() = %v, %q while stopping, want not ready", ok, why)
	}
	close(release)
	if err := <-result; err != nil {
		t.Errorf("call under way = %v, want nil", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop() = %v, want nil", err)
	}
	if err := <-part.Failed; err != nil {
		t.Errorf("Failed = %v, want it closed", err)
	}
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	memory := rpc.Memory()
	srv, err := rpc.NewServer(rpc.ServerConfig{}, rpc.ServerDeps{Service: "composer", Telemetry: telemetry.Discard(), Listener: memory})
	if err != nil {
		t.Fatal(err)
	}
	mailv1.RegisterMailServiceServer(srv, &mails{otp: func(ctx context.Context, _ *mailv1.SendOtpRequest) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}})
	part := srv.Part()
	if err := part.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mail := mailv1.NewMailServiceClient(dial(t, memory, rpc.ClientConfig{Timeout: time.Hour}))
	result := make(chan error, 1)
	go func() {
		_, err := mail.SendOtp(context.WithoutCancel(t.Context()), goodOtp())
		result <- err
	}()
	<-entered
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := part.Stop(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop(over) = %v, want context.Canceled", err)
	}
	if err := <-result; err == nil {
		t.Error("call cut off = nil, want an error")
	}
}

func TestNetworkServer(t *testing.T) {
	t.Parallel()
	srv, err := rpc.NewServer(rpc.ServerConfig{Listen: "127.0.0.1:0"}, rpc.ServerDeps{Service: "composer", Telemetry: telemetry.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	mailv1.RegisterMailServiceServer(srv, &mails{otp: func(context.Context, *mailv1.SendOtpRequest) error { return nil }})
	live(t, srv.Part())
	if _, ok := srv.Addr().(*net.TCPAddr); !ok {
		t.Errorf("Addr() = %v, want a TCP address", srv.Addr())
	}
	conn, err := rpc.Dial(rpc.ClientConfig{Target: srv.Addr().String()}, rpc.ClientDeps{Telemetry: telemetry.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mailv1.NewMailServiceClient(conn).SendOtp(t.Context(), goodOtp()); err != nil {
		t.Errorf("SendOtp() = %v, want nil", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}
