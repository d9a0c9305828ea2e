package backoff_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/kit/backoff"
)

func TestDelay(t *testing.T) {
	t.Parallel()
	almost := func() float64 { return 1 }
	tests := []struct {
		policy backoff.Policy
		n      int
		want   time.Duration
	}{
		{backoff.Policy{}, 0, 100 * time.Millisecond},
		{backoff.Policy{}, 1, 100 * time.Millisecond},
		{backoff.Policy{}, 3, 400 * time.Millisecond},
		{backoff.Policy{}, 1 << 30, 10 * time.Second},
		{backoff.Policy{Base: time.Second, Max: 3 * time.Second}, 2, 2 * time.Second},
		{backoff.Policy{Base: time.Second, Max: 3 * time.Second}, 3, 3 * time.Second},
		{backoff.Policy{Base: time.Minute}, 1, 10 * time.Second},
	}
	for _, tt := range tests {
		if got := tt.policy.Delay(tt.n, almost); got != tt.want {
			t.Errorf("%+v.Delay(%d) = %s, want %s", tt.policy, tt.n, got, tt.want)
		}
	}
	if got := (backoff.Policy{}).Delay(5, nil); got < 0 || got >= 1600*time.Millisecond {
		t.Errorf("Delay(5) = %s, want below 1.6s", got)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		failures := 0
		err := backoff.Policy{}.Retry(t.Context(), func(_ context.Context, n int) error {
			if n < 4 {
				return broken
			}
			return nil
		}, func(n int, err error) {
			failures++
			if n != failures || !errors.Is(err, broken) {
				t.Errorf("failed(%d, %v), want (%d, %v)", n, err, failures, broken)
			}
		})
		if err != nil || failures != 3 {
			t.Errorf("Retry = %v after %d failures, want nil after 3", err, failures)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := (backoff.Policy{}).Retry(ctx, func(context.Context, int) error { return broken }, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Retry = %v, want deadline exceeded", err)
		}
		if err := (backoff.Policy{}).Retry(ctx, func(context.Context, int) error { t.Error("tried"); return nil }, nil); err == nil {
			t.Error("Retry with an ended ctx = nil")
		}
	})
}
