package rpc

import (
	"context"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// FromStatus returns the error that a status tells of, nil for nil and OK: a
// *fault.Error, or for a call that was canceled or ran out of time an error that
// is context.Canceled or context.DeadlineExceeded to errors.Is. status.Code works
// on either. A refusal with REASON_DEADLINE_TOO_SHORT is both: an Unavailable
// fault, since nothing was done, and context.DeadlineExceeded.
func FromStatus(s *status.Status) error {
	if s == nil || s.Code() == codes.OK {
		return nil
	}
	cause := &remote{status: s}
	f := &fault.Error{Kind: kindOf(s.Code()), Msg: s.Message(), Cause: cause}
	for _, d := range s.Details() {
		restore(f, cause, d)
	}
	switch s.Code() {
	case codes.DeadlineExceeded:
		cause.ctx = context.DeadlineExceeded
		if f.Reason != faultv1.Reason_REASON_DEADLINE_TOO_SHORT {
			return cause
		}
		f.Kind = fault.Unavailable
	case codes.Canceled:
		cause.ctx = context.Canceled
		return cause
	default:
	}
	return f
}

// restore puts one detail back into f.
func restore(f *fault.Error, cause *remote, detail any) {
	field := func(name, desc string) {
		if name != "" {
			f.Fields = append(f.Fields, fault.Field{Name: name, Description: desc})
		}
	}
	switch d := detail.(type) {
	case *errdetails.ErrorInfo:
		cause.domain = d.GetDomain()
		f.Reason = faultv1.Reason(faultv1.Reason_value[d.GetReason()])
		if len(d.GetMetadata()) > 0 {
			f.Meta = d.GetMetadata()
		}
	case *errdetails.BadRequest:
		for _, v := range d.GetFieldViolations() {
			if v.GetField() == "" {
				continue
			}
			why := faultv1.Reason(faultv1.Reason_value[v.GetReason()])
			if why == f.Reason {
				why = faultv1.Reason_REASON_UNSPECIFIED // as a Field says it
			}
			f.Fields = append(f.Fields, fault.Field{Name: v.GetField(), Description: v.GetDescription(), Reason: why})
		}
	case *errdetails.PreconditionFailure:
		for _, v := range d.GetViolations() {
			field(v.GetSubject(), v.GetDescription())
		}
	case *errdetails.QuotaFailure:
		for _, v := range d.GetViolations() {
			field(v.GetSubject(), v.GetDescription())
		}
	case *errdetails.ResourceInfo:
		field(d.GetResourceType(), d.GetDescription())
	case *errdetails.RetryInfo:
		f.RetryAfter = d.GetRetryDelay().AsDuration()
	}
}

// remote remembers the status that an error came with.
type remote struct {
	status *status.Status
	domain string
	ctx    error // context.Canceled or context.DeadlineExceeded, else nil
}

// Error says who answered; what they said is the text of the fault around it.
func (r *remote) Error() string {
	switch {
	case r.domain != "":
		return r.domain + " answered " + r.status.Code().String()
	case r.ctx != nil:
		return r.status.Message()
	default:
		return "the peer answered " + r.status.Code().String()
	}
}

// Unwrap returns the error of the context, if that is what the status tells of.
func (r *remote) Unwrap() error { return r.ctx }

// GRPCStatus makes status.FromError and status.Code see the status.
func (r *remote) GRPCStatus() *status.Status { return r.status }

func kindOf(c codes.Code) fault.Kind {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange:
		return fault.Invalid
	case codes.Unauthenticated:
		return fault.Unauthenticated
	case codes.PermissionDenied:
		return fault.Denied
	case codes.NotFound:
		return fault.NotFound
	case codes.AlreadyExists:
		return fault.Exists
	case codes.FailedPrecondition:
		return fault.Precondition
	case codes.Aborted:
		return fault.Conflict
	case codes.ResourceExhausted:
		return fault.Exhausted
	case codes.Unavailable:
		return fault.Unavailable
	case codes.Unimplemented:
		return fault.Unimplemented
	default:
		return fault.Internal
	}
}
