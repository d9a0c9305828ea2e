package rpc_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoregistry"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

func insecureCreds() grpc.DialOption {
	return grpc.WithTransportCredentials(insecure.NewCredentials())
}

func TestOnlyReadsAreRetried(t *testing.T) {
	t.Parallel()
	away := fault.Newf(fault.Unavailable, faultv1.Reason_REASON_NOT_READY, "starting")
	var reads, sends atomic.Int32
	b := setup(t, &mails{
		templates: func(context.Context) error {
			if reads.Add(1) < 3 {
				return away
			}
			return nil
		},
		otp: func(context.Context, *mailv1.SendOtpRequest) error { sends.Add(1); return away },
	}, rpc.ServerConfig{}, rpc.ServerDeps{})
	if _, err := b.mail.ListTemplates(t.Context(), &mailv1.ListTemplatesRequest{}); err != nil {
		t.Errorf("ListTemplates() = %v, want nil after two retries", err)
	}
	if _, err := b.mail.SendOtp(t.Context(), goodOtp()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("SendOtp() = %v, want Unavailable", err)
	}
	if r, s := reads.Load(), sends.Load(); r != 3 || s != 1 {
		t.Errorf("handlers ran %d and %d times, want 3 reads and 1 send", r, s)
	}
}

func TestServiceConfig(t *testing.T) {
	t.Parallel()
	got, err := rpc.ServiceConfig(protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, `"method":"PreviewTemplate"`) || strings.Contains(got, `"method":"Send`) {
		t.Errorf("ServiceConfig() = %s, want the reads and nothing else", got)
	}
}

func TestUnreachableServer(t *testing.T) {
	t.Parallel()
	refused := func(context.Context, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	conn, err := rpc.Dial(rpc.ClientConfig{Target: "router:7420"}, rpc.ClientDeps{Telemetry: telemetry.Discard(), Dialer: refused})
	if err != nil {
		t.Fatalf("Dial() = %v, want nil: it is lazy", err)
	}
	_, err = mailv1.NewMailServiceClient(conn).SendOtp(t.Context(), goodOtp())
	if !errors.Is(err, fault.Unavailable) || status.Code(err) != codes.Unavailable {
		t.Errorf("SendOtp() = %v, want Unavailable", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestClientDeadlines(t *testing.T) {
	t.Parallel()
	b := setup(t, &mails{otp: func(ctx context.Context, _ *mailv1.SendOtpRequest) error {
		<-ctx.Done()
		return ctx.Err()
	}}, rpc.ServerConfig{}, rpc.ServerDeps{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.mail.SendOtp(ctx, goodOtp()); !errors.Is(err, context.Canceled) {
		t.Errorf("SendOtp(canceled) = %v, want context.Canceled", err)
	}
	hasty := mailv1.NewMailServiceClient(dial(t, b.memory, rpc.ClientConfig{Timeout: 1}))
	if _, err := hasty.SendOtp(t.Context(), goodOtp()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("SendOtp(1 ns) = %v, want context.DeadlineExceeded", err)
	}
}

func TestClientConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := rpc.Dial(rpc.ClientConfig{Timeout: -1, TLS: rpc.TLS{Key: "k"}}, rpc.ClientDeps{Telemetry: telemetry.Discard()})
	if err == nil {
		t.Fatal("Dial(bad) = nil, want an error")
	}
	for _, want := range []string{"target", "timeout", "cert and key"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Dial(bad) = %v, want %s named", err, want)
		}
	}
}
