package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

func TestErrorIsItsKind(t *testing.T) {
	t.Parallel()
	for _, kind := range fault.Kinds() {
		err := fmt.Errorf("reading the mail: %w", fault.Newf(kind, faultv1.Reason_REASON_MAIL_UNKNOWN, "no mail %d", 7))
		for _, other := range fault.Kinds() {
			if got, want := errors.Is(err, other), other == kind; got != want {
				t.Errorf("errors.Is(%v, %v) = %v, want %v", err, other, got, want)
			}
		}
		if got := fault.KindOf(err); got != kind {
			t.Errorf("KindOf(%v) = %v, want %v", err, got, kind)
		}
	}
}

func TestKindsAreAllNamed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for i, k := range fault.Kinds() {
		if int(k) != i {
			t.Errorf("Kinds()[%d] = %d, want %d", i, k, i)
		}
		if seen[k.String()] {
			t.Errorf("Kind(%d).String() = %q, want a name of its own", k, k)
		}
		seen[k.String()] = true
	}
	if got, want := fault.Kind(99).String(), "kind 99"; got != want {
		t.Errorf("Kind(99).String() = %q, want %q", got, want)
	}
}

func TestFrom(t *testing.T) {
	t.Parallel()
	known := fault.Newf(fault.Conflict, faultv1.Reason_REASON_IDEMPOTENCY_PENDING, "in flight")
	tests := []struct {
		name string
		err  error
		want *fault.Error
	}{
		{"nil", nil, nil},
		{"itself", known, known},
		{"wrapped", fmt.Errorf("submitting: %w", known), known},
		{"foreign", io.ErrUnexpectedEOF, &fault.Error{
			Reason: faultv1.Reason_REASON_INTERNAL, Cause: io.ErrUnexpectedEOF,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := fault.From(tt.err)
			if (got == nil) != (tt.want == nil) {
				t.Fatalf("From(%v) = %v, want %v", tt.err, got, tt.want)
			}
			if got != nil && !cmp.Equal(*got, *tt.want, cmpopts.EquateErrors()) {
				t.Errorf("From(%v) = %+v, want %+v", tt.err, *got, *tt.want)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  *fault.Error
		want string
	}{
		{&fault.Error{Kind: fault.NotFound}, "not found"},
		{fault.Newf(fault.NotFound, 0, "no mail"), "no mail"},
		{fault.Newf(fault.Unavailable, 0, "try again").WithCause(io.ErrClosedPipe), "try again: io: read/write on closed pipe"},
		{fault.Invalidf(0, "to.email", "is no %s", "mailbox"), "to.email: is no mailbox"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
		}
	}
}

func TestBuildersLeaveTheOriginalAlone(t *testing.T) {
	t.Parallel()
	base := fault.Newf(fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD, "bad").WithField("a", "1").WithMeta("k", "v")
	one := base.WithField("b", "2").WithMeta("l", "w").WithRetry(time.Second).WithCause(io.EOF)
	two := base.WithField("c", "3")
	if got, want := len(base.Fields), 1; got != want {
		t.Errorf("len(base.Fields) = %d, want %d", got, want)
	}
	if base.RetryAfter != 0 || base.Cause != nil || len(base.Meta) != 1 {
		t.Errorf("base = %+v, want it unchanged", base)
	}
	if got, want := one.Fields[1].Name, "b"; got != want {
		t.Errorf("one.Fields[1].Name = %q, want %q", got, want)
	}
	if got, want := two.Fields[1].Name, "c"; got != want {
		t.Errorf("two.Fields[1].Name = %q, want %q", got, want)
	}
	if !errors.Is(one, io.EOF) || !errors.Is(one, fault.Invalid) {
		t.Errorf("errors.Is(%v, cause and kind) = false, want true", one)
	}
}
