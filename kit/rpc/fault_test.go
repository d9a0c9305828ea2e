package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// TestFaultsSurviveTheWire sends a fault of every kind through a server and a
// client, as the answer of a call and as the end of a stream.
func TestFaultsSurviveTheWire(t *testing.T) {
	t.Parallel()
	info := func(reason string, meta map[string]string) *errdetails.ErrorInfo {
		return &errdetails.ErrorInfo{Reason: reason, Domain: "composer.kurir", Metadata: meta}
	}
	tests := []struct {
		fault   *fault.Error
		code    codes.Code
		details []any
		want    *fault.Error // nil: as sent, without the cause
	}{
		{
			fault: fault.Invalidf(faultv1.Reason_REASON_INVALID_RECIPIENT, "to.email", "is no mailbox").WithField("code", "is missing"),
			code:  codes.InvalidArgument,
			details: []any{info("REASON_INVALID_RECIPIENT", nil), &errdetails.BadRequest{
				FieldViolations: []*errdetails.BadRequest_FieldViolation{
					{Field: "to.email", Description: "is no mailbox", Reason: "REASON_INVALID_RECIPIENT"},
					{Field: "code", Description: "is missing", Reason: "REASON_INVALID_RECIPIENT"},
				},
			}},
		},
		{
			fault:   fault.Newf(fault.Unauthenticated, faultv1.Reason_REASON_API_KEY_INVALID, "who are you"),
			code:    codes.Unauthenticated,
			details: []any{info("REASON_API_KEY_INVALID", nil)},
		},
		{
			fault:   fault.Newf(fault.Denied, 0, "not you"),
			code:    codes.PermissionDenied,
			details: []any{info("REASON_NOT_ALLOWED", nil)},
			want:    fault.Newf(fault.Denied, faultv1.Reason_REASON_NOT_ALLOWED, "not you"),
		},
		{
			fault: fault.Newf(fault.NotFound, faultv1.Reason_REASON_MAIL_UNKNOWN, "no such mail").
				WithMeta("mail_id", "m1").WithField("mail_id", "is not known"),
			code: codes.NotFound,
			details: []any{
				info("REASON_MAIL_UNKNOWN", map[string]string{"mail_id": "m1"}),
				&errdetails.ResourceInfo{ResourceType: "mail_id", ResourceName: "m1", Description: "is not known"},
			},
		},
		{
			fault: fault.Newf(fault.Exists, 0, "there already"),
			code:  codes.AlreadyExists,
		},
		{
			fault: fault.Newf(fault.Precondition, faultv1.Reason_REASON_RECIPIENT_SUPPRESSED, "suppressed"),
			code:  codes.FailedPrecondition,
			details: []any{info("REASON_RECIPIENT_SUPPRESSED", nil), &errdetails.PreconditionFailure{
				Violations: []*errdetails.PreconditionFailure_Violation{
					{Type: "REASON_RECIPIENT_SUPPRESSED", Description: "suppressed"},
				},
			}},
		},
		{
			fault: fault.Newf(fault.Precondition, faultv1.Reason_REASON_MAIL_SETTLED, "too late").WithField("state", "is final"),
			code:  codes.FailedPrecondition,
			details: []any{info("REASON_MAIL_SETTLED", nil), &errdetails.PreconditionFailure{
				Violations: []*errdetails.PreconditionFailure_Violation{
					{Type: "REASON_MAIL_SETTLED", Subject: "state", Description: "is final"},
				},
			}},
		},
		{
			fault:   fault.Newf(fault.Conflict, faultv1.Reason_REASON_IDEMPOTENCY_PENDING, "in flight").WithMeta("mail_id", "m2"),
			code:    codes.Aborted,
			details: []any{info("REASON_IDEMPOTENCY_PENDING", map[string]string{"mail_id": "m2"})},
		},
		{
			fault: fault.Newf(fault.Exhausted, faultv1.Reason_REASON_QUOTA_EXCEEDED, "enough").
				WithField("tenant:toko", "1000 a day").WithRetry(90 * time.Second),
			code: codes.ResourceExhausted,
			details: []any{
				info("REASON_QUOTA_EXCEEDED", nil),
				&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{
					{Subject: "tenant:toko", Description: "1000 a day"},
				}},
				&errdetails.RetryInfo{RetryDelay: durationpb.New(90 * time.Second)},
			},
		},
		{
			fault: fault.Newf(fault.Unavailable, faultv1.Reason_REASON_BROKER_UNAVAILABLE, "try again").
				WithRetry(1500 * time.Millisecond).WithCause(io.ErrUnexpectedEOF),
			code: codes.Unavailable,
			details: []any{
				info("REASON_BROKER_UNAVAILABLE", nil),
				&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
			},
		},
		{
			fault:   fault.Newf(fault.Unimplemented, faultv1.Reason_REASON_NOT_IMPLEMENTED, "not yet"),
			code:    codes.Unimplemented,
			details: []any{info("REASON_NOT_IMPLEMENTED", nil)},
		},
	}
	tried := map[fault.Kind]bool{fault.Internal: true} // has a test of its own
	for _, tt := range tests {
		tried[tt.fault.Kind] = true
		t.Run(tt.fault.Kind.String()+"/"+tt.fault.Msg, func(t *testing.T) {
			t.Parallel()
			b := setup(t, &mails{
				otp: func(context.Context, *mailv1.SendOtpRequest) error { return fmt.Errorf("sending: %w", tt.fault) },
				batch: func(grpc.BidiStreamingServer[mailv1.SendBatchRequest, mailv1.SendBatchResponse]) error {
					return fmt.Errorf("batching: %w", tt.fault)
				},
			}, rpc.ServerConfig{}, rpc.ServerDeps{})
			_, unary := b.mail.SendOtp(t.Context(), goodOtp())
			for name, err := range map[string]error{
				"unary": unary, "stream": batch(t.Context(), b.mail, &mailv1.SendBatchRequest{}),
			} {
				if !errors.Is(err, tt.fault.Kind) {
					t.Errorf("%s: errors.Is(%v, %v) = false, want true", name, err, tt.fault.Kind)
				}
				want := tt.want
				if want == nil {
					want = tt.fault
				}
				if diff := cmp.Diff(*want, *fault.From(err), cmpopts.IgnoreFields(fault.Error{}, "Cause"), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: fault mismatch (-want +got):\n%s", name, diff)
				}
				st, ok := status.FromError(err)
				if !ok || st.Code() != tt.code {
					t.Errorf("%s: status code = %v, want %v", name, st.Code(), tt.code)
				}
				if diff := cmp.Diff(tt.details, st.Details(), protocmp.Transform(), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: details mismatch (-want +got):\n%s", name, diff)
				}
				if strings.Contains(err.Error(), io.ErrUnexpectedEOF.Error()) {
					t.Errorf("%s: %v tells the cause, want it kept at home", name, err)
				}
			}
		})
	}
	for _, k := range fault.Kinds() {
		if !tried[k] {
			t.Errorf("no case for the kind %v", k)
		}
	}
}

func TestContextErrorsSurviveTheWire(t *testing.T) {
	t.Parallel()
	for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
		b := setup(t, &mails{otp: func(context.Context, *mailv1.SendOtpRequest) error {
			return fmt.Errorf("asking the store: %w", want)
		}}, rpc.ServerConfig{}, rpc.ServerDeps{})
		_, err := b.mail.SendOtp(t.Context(), goodOtp())
		if !errors.Is(err, want) {
			t.Errorf("SendOtp() = %v, want %v", err, want)
		}
		if _, ok := errors.AsType[*fault.Error](err); ok {
			t.Errorf("SendOtp() = %v is a fault, want the plain %v", err, want)
		}
		// The next hop tells the same on.
		if got := rpc.StatusIn("router.kurir", fmt.Errorf("relaying: %w", err)).Code(); got != status.Code(err) {
			t.Errorf("StatusIn(%v) = %v, want %v", err, got, status.Code(err))
		}
	}
}

// TestFaultsTravelTwoHops shows that a service may return its peer's fault as it
// is: the kind and reason stay, only the domain becomes its own.
func TestFaultsTravelTwoHops(t *testing.T) {
	t.Parallel()
	first := rpc.StatusIn("router.kurir", fault.Newf(fault.Conflict, faultv1.Reason_REASON_IDEMPOTENCY_PENDING, "in flight").WithMeta("mail_id", "m"))
	second := rpc.StatusIn("composer.kurir", fmt.Errorf("submitting: %w", rpc.FromStatus(first)))
	got := fault.From(rpc.FromStatus(second))
	if got.Kind != fault.Conflict || got.Reason != faultv1.Reason_REASON_IDEMPOTENCY_PENDING || got.Meta["mail_id"] != "m" || got.Msg != "in flight" {
		t.Errorf("after two hops = %+v, want the same fault", got)
	}
	if !strings.Contains(got.Error(), "composer.kurir answered Aborted") {
		t.Errorf("Error() = %q, want it to say who answered", got.Error())
	}
	inner := rpc.FromStatus(rpc.StatusIn("router.kurir", errors.New("disk gone")))
	if got := rpc.StatusIn("composer.kurir", inner).Message(); got != "internal error" {
		t.Errorf("a peer's internal error is told as %q, want internal error", got)
	}
}

func TestStatusOfForeignStatuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  error
		want codes.Code
	}{
		{nil, codes.OK},
		{status.Error(codes.Unimplemented, "method X not implemented"), codes.Unimplemented},
		{status.Error(codes.InvalidArgument, "bad"), codes.InvalidArgument},
		{fmt.Errorf("calling: %w", status.Error(codes.InvalidArgument, "bad")), codes.Internal},
		{fmt.Errorf("reading the stream: %w", status.Error(codes.Canceled, "gone")), codes.Canceled},
		{status.Error(codes.Unknown, "who knows"), codes.Internal},
		{io.EOF, codes.Internal},
	}
	for _, tt := range tests {
		if got := rpc.Status(tt.err).Code(); got != tt.want {
			t.Errorf("Status(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
	if err := rpc.FromStatus(nil); err != nil {
		t.Errorf("FromStatus(nil) = %v, want nil", err)
	}
	if err := rpc.FromStatus(status.New(codes.OK, "")); err != nil {
		t.Errorf("FromStatus(OK) = %v, want nil", err)
	}
	gone := rpc.FromStatus(status.New(codes.Unavailable, "connection refused"))
	if !errors.Is(gone, fault.Unavailable) {
		t.Errorf("FromStatus(Unavailable) = %v, want fault.Unavailable", gone)
	}
}

// FuzzFault sends whatever text through a status and back: nothing is lost but
// what does not fit, and the whole stays within the headers of a proxy.
func FuzzFault(f *testing.F) {
	f.Add(int(fault.Invalid), int32(1), "to.email: is no mailbox", "to.email", "is no mailbox", int64(0))
	f.Add(int(fault.Exhausted), int32(25), "\xff\x00", strings.Repeat("é", 4000), "", int64(time.Second))
	f.Add(99, int32(-5), "", "", "\xc3", int64(-1))
	f.Fuzz(func(t *testing.T, kind int, reason int32, msg, name, desc string, retry int64) {
		sent := &fault.Error{
			Kind: fault.Kind(kind), Reason: faultv1.Reason(reason), Msg: msg, RetryAfter: time.Duration(retry),
			Fields: []fault.Field{{Name: name, Description: desc}}, Meta: map[string]string{name: desc},
		}
		st := rpc.StatusIn("composer.kurir", sent)
		if st.Code() == codes.OK {
			t.Fatalf("StatusIn(%+v) = OK, want an error", sent)
		}
		if !utf8.ValidString(st.Message()) || len(st.Message()) > 1100 {
			t.Errorf("StatusIn(%+v) has the message %q, want it short and valid", sent, st.Message())
		}
		got := fault.From(rpc.FromStatus(st))
		if kind >= 0 && kind < len(fault.Kinds()) && reason != int32(faultv1.Reason_REASON_DEADLINE_TOO_SHORT) && got.Kind != sent.Kind {
			t.Errorf("FromStatus(StatusIn(%+v)).Kind = %v, want %v", sent, got.Kind, sent.Kind)
		}
	})
}
