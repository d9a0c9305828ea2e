package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"google.golang.org/grpc"

	"kurir.dev/kit/app"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// mails is a MailService that does what the test says. What it says nothing of is
// unimplemented.
type mails struct {
	mailv1.UnimplementedMailServiceServer
	otp       func(ctx context.Context, req *mailv1.SendOtpRequest) error
	batch     func(stream grpc.BidiStreamingServer[mailv1.SendBatchRequest, mailv1.SendBatchResponse]) error
	templates func(ctx context.Context) error
}

func (m *mails) SendOtp(ctx context.Context, req *mailv1.SendOtpRequest) (*mailv1.SendOtpResponse, error) {
	if m.otp == nil {
		return m.UnimplementedMailServiceServer.SendOtp(ctx, req)
	}
	return &mailv1.SendOtpResponse{}, m.otp(ctx, req)
}

func (m *mails) SendBatch(stream grpc.BidiStreamingServer[mailv1.SendBatchRequest, mailv1.SendBatchResponse]) error {
	if m.batch == nil {
		return m.UnimplementedMailServiceServer.SendBatch(stream)
	}
	return m.batch(stream)
}

func (m *mails) ListTemplates(ctx context.Context, req *mailv1.ListTemplatesRequest) (*mailv1.ListTemplatesResponse, error) {
	if m.templates == nil {
		return m.UnimplementedMailServiceServer.ListTemplates(ctx, req)
	}
	return &mailv1.ListTemplatesResponse{}, m.templates(ctx)
}

// goodOtp returns a request that breaks no constraint.
func goodOtp() *mailv1.SendOtpRequest {
	return &mailv1.SendOtpRequest{
		IdempotencyKey: "k1", To: &mailv1.Address{Email: "a@example.id"}, Code: "123456", ProductName: "Toko",
	}
}

// bundle is a server in memory and a client of it.
type bundle struct {
	server *rpc.Server
	memory *rpc.MemoryListener
	conn   *grpc.ClientConn
	mail   mailv1.MailServiceClient
}

// setup serves impl as the service "composer" and stops it with the test. The
// zero deps and cfg will do.
func setup(t *testing.T, impl *mails, cfg rpc.ServerConfig, deps rpc.ServerDeps) bundle {
	t.Helper()
	b := bundle{memory: rpc.Memory()}
	deps.Service, deps.Listener = "composer", b.memory
	if deps.Telemetry == nil {
		deps.Telemetry = telemetry.Discard()
	}
	var err error
	if b.server, err = rpc.NewServer(cfg, deps); err != nil {
		t.Fatalf("NewServer() = %v, want nil", err)
	}
	mailv1.RegisterMailServiceServer(b.server, impl)
	live(t, b.server.Part())
	b.conn = dial(t, b.memory, rpc.ClientConfig{})
	b.mail = mailv1.NewMailServiceClient(b.conn)
	return b
}

// live starts part and stops it when the test ends.
func live(t *testing.T, part app.Part) {
	t.Helper()
	if err := part.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v, want nil", err)
	}
	t.Cleanup(func() {
		if err := part.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Stop() = %v, want nil", err)
		}
	})
}

func dial(t *testing.T, m *rpc.MemoryListener, cfg rpc.ClientConfig) *grpc.ClientConn {
	t.Helper()
	cfg.Target = "memory"
	conn, err := rpc.Dial(cfg, rpc.ClientDeps{Telemetry: telemetry.Discard(), Dialer: m.DialContext})
	if err != nil {
		t.Fatalf("Dial() = %v, want nil", err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("Close() = %v, want nil", err)
		}
	})
	return conn
}

// batch sends one request over a stream and returns how the stream ended, nil for
// a good end.
func batch(ctx context.Context, c mailv1.MailServiceClient, req *mailv1.SendBatchRequest) error {
	s, err := c.SendBatch(ctx)
	if err != nil {
		return err
	}
	if err := s.Send(req); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("sending: %w", err)
	}
	if err := s.CloseSend(); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	for {
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
