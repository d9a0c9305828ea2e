// Package fault is Kurir's error taxonomy: a small closed set of kinds, a
// stable reason, a public text, and a cause that stays at home.
//
// A *Error is made where the fault is understood and travels up unchanged, or
// wrapped with fmt.Errorf("...: %w", err). The server of kit/rpc turns it into a
// gRPC status with the standard error details, the client of kit/rpc turns that
// back, so that
//
//	errors.Is(err, fault.NotFound)
//
// means the same in the process that raised it and in the one that called it.
// Whatever is no *Error is Internal: its text is logged by the server once and
// never told to a caller.
//
// Errors of a context (context.Canceled, context.DeadlineExceeded) are no faults;
// they stay what they are, on both sides of the wire.
package fault

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// Field names one offending part of a request, or the subject of a failed
// precondition or quota.
type Field struct {
	// Name is the path of the field as proto spells it, "line_items[2].amount".
	Name string
	// Description says what is wrong with it and what mends it, for people,
	// without its value.
	Description string
	// Reason is why it is wrong; unspecified means that of the Error.
	Reason faultv1.Reason
}

// Error is one fault. Make it with Newf or Invalidf, or as a literal. It may be
// shared between goroutines once it is built; the With methods return copies.
type Error struct {
	// Kind is the class that callers switch on. The zero Kind is Internal.
	Kind Kind
	// Reason is the stable, machine-readable cause. Unspecified means the usual
	// reason of the Kind, if it has one.
	Reason faultv1.Reason
	// Msg is public: it is sent to the caller, unless Kind is Internal. It holds
	// no secret, no body and no full address.
	Msg string
	// Fields lists what exactly is wrong. It is sent as field violations
	// (Invalid), precondition violations, quota violations or resources.
	Fields []Field
	// Meta goes into the metadata of the error info. It is public.
	Meta map[string]string
	// RetryAfter asks the caller to wait so long before it tries again; zero
	// says nothing.
	RetryAfter time.Duration
	// Cause is what lies beneath. It is logged, never sent. It may be nil.
	Cause error
}

// Newf returns an Error whose public text is formatted like fmt.Sprintf. A %w is
// not understood: add a cause by WithCause.
func Newf(kind Kind, reason faultv1.Reason, format string, args ...any) *Error {
	return &Error{Kind: kind, Reason: reason, Msg: fmt.Sprintf(format, args...)}
}

// Invalidf returns an Invalid error with one field violation. The public text is
// the field's name and the formatted text.
func Invalidf(reason faultv1.Reason, field, format string, args ...any) *Error {
	desc := fmt.Sprintf(format, args...)
	return &Error{
		Kind: Invalid, Reason: reason, Msg: field + ": " + desc,
		Fields: []Field{{Name: field, Description: desc}},
	}
}

// WithField returns a copy of e with one more Field.
func (e *Error) WithField(name, desc string) *Error {
	c := *e
	c.Fields = append(slices.Clip(e.Fields), Field{Name: name, Description: desc})
	return &c
}

// WithMeta returns a copy of e with one more entry in Meta.
func (e *Error) WithMeta(k, v string) *Error {
	c := *e
	c.Meta = maps.Clone(e.Meta)
	if c.Meta == nil {
		c.Meta = make(map[string]string, 1)
	}
	c.Meta[k] = v
	return &c
}

// WithRetry returns a copy of e that asks the caller to come back after d.
func (e *Error) WithRetry(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// WithCause returns a copy of e with the error that lies beneath it.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.Cause = err
	return &c
}

// Error returns the text for logs: the public text and the cause. It is not what
// a caller is told.
func (e *Error) Error() string {
	msg := e.Msg
	if msg == "" {
		msg = e.Kind.String()
	}
	if e.Cause != nil {
		return msg + ": " + e.Cause.Error()
	}
	return msg
}

// Unwrap returns the Kind and the Cause, so that errors.Is matches either.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// From returns the outermost *Error in err's chain. Any other error comes back
// as an Internal one with err as its cause; nil comes back as nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Reason: faultv1.Reason_REASON_INTERNAL, Cause: err}
}

// KindOf returns the kind of the outermost *Error in err's chain, Internal for
// any other error. It is for switches; a nil err has no kind and must not be
// passed. Where a fault caused another, errors.Is matches both kinds and KindOf
// tells the outer one.
func KindOf(err error) Kind { return From(err).Kind }
