package rpc_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

func hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func keys(t *testing.T) *rpc.Auth {
	t.Helper()
	a, err := rpc.NewAuth(rpc.AuthConfig{Keys: []rpc.APIKey{
		{Tenant: "toko", SHA256: hash("toko-key"), Scopes: []string{rpc.ScopeSend, rpc.ScopeRead}},
		{Tenant: "ops", SHA256: strings.ToUpper(hash("ops-key")), Scopes: []string{rpc.ScopeAdmin}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAuth(t *testing.T) {
	t.Parallel()
	development, err := rpc.NewAuth(rpc.AuthConfig{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		auth   *rpc.Auth
		md     []string
		tenant string
		want   error
	}{
		{"known", keys(t), []string{"authorization", "Bearer toko-key"}, "toko", nil},
		{"lower case scheme", keys(t), []string{"authorization", "bearer toko-key"}, "toko", nil},
		{"the tenant cannot be claimed", keys(t), []string{"authorization", "Bearer toko-key", "kurir-tenant", "ops"}, "toko", nil},
		{"scope missing", keys(t), []string{"authorization", "Bearer ops-key"}, "", fault.Denied},
		{"unknown", keys(t), []string{"authorization", "Bearer other"}, "", fault.Unauthenticated},
		{"other scheme", keys(t), []string{"authorization", "Basic toko-key"}, "", fault.Unauthenticated},
		{"two", keys(t), []string{"authorization", "Bearer toko-key", "authorization", "Bearer ops-key"}, "", fault.Unauthenticated},
		{"empty", keys(t), []string{"authorization", ""}, "", fault.Unauthenticated},
		{"none", keys(t), nil, "", fault.Unauthenticated},
		{"development", development, nil, "default", nil},
		{"development tenant", development, []string{"kurir-tenant", "toko"}, "toko", nil},
		{"open", nil, []string{"kurir-tenant", "toko"}, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, &mails{otp: func(ctx context.Context, _ *mailv1.SendOtpRequest) error {
				if err := rpc.Require(ctx, rpc.ScopeSend); err != nil {
					return err
				}
				if got := rpc.Tenant(ctx); got != tt.tenant {
					t.Errorf("Tenant() = %q, want %q", got, tt.tenant)
				}
				return nil
			}}, rpc.ServerConfig{}, rpc.ServerDeps{Auth: tt.auth})
			_, err := b.mail.SendOtp(metadata.AppendToOutgoingContext(t.Context(), tt.md...), goodOtp())
			if !errors.Is(err, tt.want) {
				t.Errorf("SendOtp(%v) = %v, want %v", tt.md, err, tt.want)
			}
		})
	}
}

func TestClientSendsItsKey(t *testing.T) {
	t.Parallel()
	b := setup(t, &mails{otp: func(ctx context.Context, _ *mailv1.SendOtpRequest) error {
		return rpc.Require(ctx, rpc.ScopeSend)
	}}, rpc.ServerConfig{}, rpc.ServerDeps{Auth: keys(t)})
	mail := mailv1.NewMailServiceClient(dial(t, b.memory, rpc.ClientConfig{Key: "toko-key"}))
	if _, err := mail.SendOtp(t.Context(), goodOtp()); err != nil {
		t.Errorf("SendOtp(with key) = %v, want nil", err)
	}
	if err := batch(t.Context(), mail, &mailv1.SendBatchRequest{}); !errors.Is(err, fault.Unimplemented) {
		t.Errorf("SendBatch(with key) = %v, want it to pass the door", err)
	}
	if err := batch(t.Context(), b.mail, &mailv1.SendBatchRequest{}); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("SendBatch(without key) = %v, want Unauthenticated", err)
	}
}

func TestWithTenant(t *testing.T) {
	t.Parallel()
	development, err := rpc.NewAuth(rpc.AuthConfig{})
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, &mails{otp: func(ctx context.Context, _ *mailv1.SendOtpRequest) error {
		if got := rpc.Tenant(ctx); got != "toko" {
			t.Errorf("Tenant() = %q, want toko", got)
		}
		return nil
	}}, rpc.ServerConfig{}, rpc.ServerDeps{Auth: development})
	if _, err := b.mail.SendOtp(rpc.WithTenant(t.Context(), "toko"), goodOtp()); err != nil {
		t.Errorf("SendOtp() = %v, want nil", err)
	}
}

func TestRequireOutsideOfAServer(t *testing.T) {
	t.Parallel()
	if err := rpc.Require(t.Context(), rpc.ScopeRead); !errors.Is(err, fault.Denied) {
		t.Errorf("Require(no call) = %v, want Denied", err)
	}
	if got := rpc.Tenant(t.Context()); got != "" {
		t.Errorf("Tenant(no call) = %q, want none", got)
	}
}

func TestAuthConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := rpc.NewAuth(rpc.AuthConfig{Keys: []rpc.APIKey{
		{SHA256: hash("a"), Scopes: []string{"send"}},
		{Tenant: "b", SHA256: "abc", Scopes: []string{"send"}},
		{Tenant: "c", SHA256: hash("c"), Scopes: []string{"fly"}},
		{Tenant: "d", SHA256: hash("c")},
	}})
	want := strings.Join([]string{
		"keys[0].tenant: is missing",
		"keys[1].sha256: is not the 64 hexadecimal digits of a SHA-256",
		`keys[2].scopes: "fly" is none of send, read, admin`,
		"keys[3].scopes: is empty, such a key is good for nothing",
		"keys[3].sha256: is the key of another entry too",
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("NewAuth(bad) = %v, want %s", err, want)
	}
}

// TestOrderOfInterceptors pins the order: of two things that are wrong, the
// earlier step is the one that answers.
func TestOrderOfInterceptors(t *testing.T) {
	t.Parallel()
	const method = mailv1.MailService_SendOtp_FullMethodName
	bad := &mailv1.SendOtpRequest{}
	allowed := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer toko-key"))
	short := func(ctx context.Context) context.Context {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	panics := func(context.Context, any) (any, error) { panic("bug") }
	tests := []struct {
		name   string
		ctx    context.Context
		req    *mailv1.SendOtpRequest
		code   codes.Code
		reason faultv1.Reason
	}{
		{"auth before deadline", short(t.Context()), bad, codes.Unauthenticated, faultv1.Reason_REASON_API_KEY_INVALID},
		{"deadline before validation", short(allowed), bad, codes.DeadlineExceeded, faultv1.Reason_REASON_DEADLINE_TOO_SHORT},
		{"validation before the handler, mapped", allowed, bad, codes.InvalidArgument, faultv1.Reason_REASON_INVALID_FIELD},
		{"recovery around all", allowed, goodOtp(), codes.Internal, faultv1.Reason_REASON_INTERNAL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			deps := rpc.ServerDeps{Service: "composer", Telemetry: telemetry.Discard(), Auth: keys(t)}
			_, err := rpc.Through(tt.ctx, rpc.ServerConfig{}, deps, method, tt.req, panics)
			st, ok := status.FromError(err)
			if !ok || st.Code() != tt.code {
				t.Fatalf("call = %v, want the code %v", err, tt.code)
			}
			if got := fault.From(rpc.FromStatus(st)).Reason; got != tt.reason {
				t.Errorf("reason = %v, want %v", got, tt.reason)
			}
		})
	}
}
