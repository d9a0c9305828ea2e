package rpc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

func TestBudget(t *testing.T) {
	t.Parallel()
	now := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) // far ahead: no context ends by itself
	tests := []struct {
		name     string
		left     time.Duration // 0: no deadline
		fallback time.Duration
		want     time.Duration // 0: no deadline
		refused  bool
	}{
		{"ample", time.Second, time.Minute, 980 * time.Millisecond, false},
		{"just enough", 100 * time.Millisecond, time.Minute, 80 * time.Millisecond, false},
		{"just too short", 100*time.Millisecond - 1, time.Minute, 0, true},
		{"past", -time.Second, time.Minute, 0, true},
		{"none", 0, time.Minute, time.Minute, false},
		{"none and no fallback", 0, 0, 0, false},
		{"longer than the fallback", time.Hour, time.Minute, time.Hour - 20*time.Millisecond, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if tt.left != 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithDeadline(ctx, now.Add(tt.left))
				defer cancel()
			}
			got, cancel, err := rpc.Budget(ctx, now, tt.fallback)
			if tt.refused {
				if !errors.Is(err, fault.Unavailable) || fault.From(err).Reason != faultv1.Reason_REASON_DEADLINE_TOO_SHORT {
					t.Errorf("Budget(%v) = %v, want a refusal", tt.left, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Budget(%v) = %v, want nil", tt.left, err)
			}
			defer cancel()
			deadline, ok := got.Deadline()
			if ok != (tt.want != 0) || ok && deadline.Sub(now) != tt.want {
				t.Errorf("Budget(%v) leaves %v (%v), want %v", tt.left, deadline.Sub(now), ok, tt.want)
			}
		})
	}
}

// TestRefusalIsBoth shows what a caller sees of a call refused for its deadline.
func TestRefusalIsBoth(t *testing.T) {
	t.Parallel()
	st := rpc.StatusIn("composer.kurir", fault.Newf(fault.Unavailable, faultv1.Reason_REASON_DEADLINE_TOO_SHORT, "50ms left"))
	if st.Code() != codes.DeadlineExceeded {
		t.Errorf("code = %v, want DeadlineExceeded", st.Code())
	}
	err := rpc.FromStatus(st)
	if !errors.Is(err, fault.Unavailable) || !errors.Is(err, context.DeadlineExceeded) || status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("FromStatus() = %v, want Unavailable and DeadlineExceeded", err)
	}
}

func TestDeadlinesOfCalls(t *testing.T) {
	t.Parallel()
	got := make(chan bool, 1)
	impl := &mails{
		otp: func(ctx context.Context, _ *mailv1.SendOtpRequest) error {
			_, ok := ctx.Deadline()
			got <- ok
			return nil
		},
		batch: func(s grpc.BidiStreamingServer[mailv1.SendBatchRequest, mailv1.SendBatchResponse]) error {
			_, ok := s.Context().Deadline()
			got <- ok
			return nil
		},
	}
	b := setup(t, impl, rpc.ServerConfig{}, rpc.ServerDeps{})
	raw, err := grpc.NewClient("passthrough:///memory", grpc.WithContextDialer(b.memory.DialContext), insecureCreds())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := raw.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := mailv1.NewMailServiceClient(raw).SendOtp(t.Context(), goodOtp()); err != nil {
		t.Fatal(err)
	}
	if !<-got {
		t.Error("a unary call without deadline got none, want the default")
	}
	if err := batch(t.Context(), b.mail, &mailv1.SendBatchRequest{}); err != nil {
		t.Fatal(err)
	}
	if <-got {
		t.Error("a stream without deadline got one, want none")
	}
}
