package rpc

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// Details travel in a header, and proxies allow eight kilobytes of headers. A
// fault is cut to fit.
const (
	maxMsg    = 1 << 10
	maxFields = 16
	maxText   = 256
)

// Status returns err as StatusIn does, in the domain "kurir".
func Status(err error) *status.Status { return StatusIn("kurir", err) }

// StatusIn returns the status by which err is told to a caller, nil for nil. The
// domain is that of the error info, "<service>.kurir". Use it where a status is
// part of an answer, as in a batch; errors that handlers return are mapped by the
// server.
//
// A *fault.Error is told in full but for its cause; an Internal one, and any
// error that is none, only as "internal error". The errors of a context keep
// their codes, also as statuses of a stream or a peer.
func StatusIn(domain string, err error) *status.Status {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return fromFault(domain, f)
	}
	if st, ok := passing(err); ok {
		if st.Code() == codes.Unimplemented && len(st.Proto().GetDetails()) == 0 {
			return fromFault(domain, &fault.Error{Kind: fault.Unimplemented, Msg: st.Message()})
		}
		return st
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, "the deadline was exceeded")
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, "the call was canceled")
	default:
		return fromFault(domain, fault.From(err))
	}
}

// passing returns the status in err if it may go on to the caller: one that gRPC
// itself made, such as for a method that is not built or a message too large.
func passing(err error) (*status.Status, bool) {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return nil, false
	}
	st := s.GRPCStatus()
	switch st.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unimplemented, codes.ResourceExhausted:
		return st, true
	case codes.OK, codes.Unknown, codes.Internal, codes.DataLoss:
		return nil, false
	default:
		// Told on only by a handler that returns it as it is: wrapped, it speaks
		// of somebody else's call.
		_, bare := err.(interface{ GRPCStatus() *status.Status })
		return st, bare
	}
}

func fromFault(domain string, f *fault.Error) *status.Status {
	msg, reason := clip(f.Msg, maxMsg), f.Reason
	if reason == faultv1.Reason_REASON_UNSPECIFIED {
		reason = usualReason(f.Kind)
	}
	if f.Kind == fault.Internal {
		f = &fault.Error{Kind: fault.Internal, Meta: onlyTrace(f.Meta)}
		msg, reason = "internal error", faultv1.Reason_REASON_INTERNAL
	}
	if msg == "" {
		msg = f.Kind.String()
	}
	code := codeOf(f.Kind)
	if reason == faultv1.Reason_REASON_DEADLINE_TOO_SHORT {
		code = codes.DeadlineExceeded
	}
	st := status.New(code, msg)
	detailed, err := st.WithDetails(details(domain, reason, f)...)
	if err != nil {
		return st // cannot be: the code is not OK and all details marshal
	}
	return detailed
}

// onlyTrace keeps the one thing that a caller may know of an internal error.
func onlyTrace(meta map[string]string) map[string]string {
	if id := meta[metaTraceID]; id != "" {
		return map[string]string{metaTraceID: id}
	}
	return nil
}

// metaTraceID is the metadata by which an internal error can be found in the log.
const metaTraceID = "trace_id"

func details(domain string, reason faultv1.Reason, f *fault.Error) []protoadapt.MessageV1 {
	var all []protoadapt.MessageV1
	if reason != faultv1.Reason_REASON_UNSPECIFIED || len(f.Meta) > 0 {
		info := &errdetails.ErrorInfo{Domain: domain, Metadata: make(map[string]string, len(f.Meta))}
		if reason != faultv1.Reason_REASON_UNSPECIFIED {
			info.Reason = reason.String()
		}
		for _, k := range slices.Sorted(maps.Keys(f.Meta)) {
			if len(info.GetMetadata()) == maxFields {
				break
			}
			info.Metadata[clip(k, maxText)] = clip(f.Meta[k], maxText)
		}
		all = append(all, info)
	}
	if len(f.Fields) > 0 {
		all = append(all, violations(reason, f)...)
	} else if d := subject(reason, f); d != nil {
		all = append(all, d)
	}
	if f.RetryAfter > 0 {
		all = append(all, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	return all
}

// violations returns the fields of f in the detail that fits its kind. The wire
// has one resource per detail, but lists of the others.
func violations(reason faultv1.Reason, f *fault.Error) []protoadapt.MessageV1 {
	var (
		resources []protoadapt.MessageV1
		bad       errdetails.BadRequest
		pre       errdetails.PreconditionFailure
		quota     errdetails.QuotaFailure
	)
	for _, field := range f.Fields[:min(len(f.Fields), maxFields)] {
		name, desc := clip(field.Name, maxText), clip(field.Description, maxText)
		switch f.Kind {
		case fault.Precondition:
			pre.Violations = append(pre.Violations, &errdetails.PreconditionFailure_Violation{
				Type: reason.String(), Subject: name, Description: desc,
			})
		case fault.Exhausted:
			quota.Violations = append(quota.Violations, &errdetails.QuotaFailure_Violation{Subject: name, Description: desc})
		case fault.NotFound, fault.Exists:
			resources = append(resources, &errdetails.ResourceInfo{
				ResourceType: name, ResourceName: clip(f.Meta[field.Name], maxText), Description: desc,
			})
		default:
			why := field.Reason
			if why == faultv1.Reason_REASON_UNSPECIFIED {
				why = reason
			}
			v := &errdetails.BadRequest_FieldViolation{Field: name, Description: desc}
			if why != faultv1.Reason_REASON_UNSPECIFIED {
				v.Reason = why.String()
			}
			bad.FieldViolations = append(bad.FieldViolations, v)
		}
	}
	switch f.Kind {
	case fault.Precondition:
		return []protoadapt.MessageV1{&pre}
	case fault.Exhausted:
		return []protoadapt.MessageV1{&quota}
	case fault.NotFound, fault.Exists:
		return resources
	default:
		return []protoadapt.MessageV1{&bad}
	}
}

// subject returns the detail that belongs to f's kind even if f names no field.
// It has no subject, by which the client knows that it is no field.
func subject(reason faultv1.Reason, f *fault.Error) protoadapt.MessageV1 {
	switch f.Kind {
	case fault.Precondition:
		return &errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{
			{Type: reason.String(), Description: clip(f.Msg, maxText)},
		}}
	case fault.Exhausted:
		return &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{
			{Description: clip(f.Msg, maxText)},
		}}
	default:
		return nil
	}
}

// clip makes s fit for a proto string of at most n bytes.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func codeOf(k fault.Kind) codes.Code {
	switch k {
	case fault.Invalid:
		return codes.InvalidArgument
	case fault.Unauthenticated:
		return codes.Unauthenticated
	case fault.Denied:
		return codes.PermissionDenied
	case fault.NotFound:
		return codes.NotFound
	case fault.Exists:
		return codes.AlreadyExists
	case fault.Precondition:
		return codes.FailedPrecondition
	case fault.Conflict:
		return codes.Aborted
	case fault.Exhausted:
		return codes.ResourceExhausted
	case fault.Unavailable:
		return codes.Unavailable
	case fault.Unimplemented:
		return codes.Unimplemented
	case fault.Internal:
		return codes.Internal
	default:
		return codes.Internal
	}
}

// usualReason is the reason of a fault whose author gave none.
func usualReason(k fault.Kind) faultv1.Reason {
	switch k {
	case fault.Internal:
		return faultv1.Reason_REASON_INTERNAL
	case fault.Invalid:
		return faultv1.Reason_REASON_INVALID_FIELD
	case fault.Unauthenticated:
		return faultv1.Reason_REASON_API_KEY_INVALID
	case fault.Denied:
		return faultv1.Reason_REASON_NOT_ALLOWED
	case fault.Exhausted:
		return faultv1.Reason_REASON_OVERLOADED
	case fault.Unavailable:
		return faultv1.Reason_REASON_NOT_READY
	case fault.Unimplemented:
		return faultv1.Reason_REASON_NOT_IMPLEMENTED
	case fault.NotFound, fault.Exists, fault.Precondition, fault.Conflict:
		return faultv1.Reason_REASON_UNSPECIFIED
	default:
		return faultv1.Reason_REASON_UNSPECIFIED
	}
}
