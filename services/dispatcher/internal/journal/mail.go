// Package journal is the dispatcher's word in Kafka: it opens lane records,
// writes down what became of each mail, and reads back what earlier owners of
// a partition wrote. It is the only package of the delivery that knows the
// records' proto.
package journal

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"kurir.dev/kit/custody"
	"kurir.dev/kit/record"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

// Key names a lane record: a mail and which release of it this is.
type Key struct {
	MailID  string
	Attempt uint32
}

// Mail is a mail in custody. It does not change.
type Mail struct {
	Key
	// Tenant whose mail it is, Lane it goes on.
	Tenant, Lane string
	// Recipient is an RFC 5321 mailbox, Domain its domain.
	Recipient, Domain string
	// ReturnDomain is the domain of the return path, FromDomain that of the
	// From header, which signs.
	ReturnDomain, FromDomain string
	// UTF8 says that the session must offer SMTPUTF8.
	UTF8 bool
	// AcceptedAt is when custody began, ExpiresAt when the mail is given up.
	AcceptedAt, ExpiresAt time.Time
	// InDoubt is the mail's own wish; Hold is only meant with Decided.
	InDoubt InDoubt
	// Message is the RFC 5322 message; nil when Blob names where it is.
	Message []byte
	// Blob is the key of a message in the blob store; empty otherwise.
	Blob string
	// Tries of earlier releases.
	Tries uint32
	// PossibleDuplicate says that an earlier release may have delivered it.
	PossibleDuplicate bool
	// Traceparent and Tracestate of the call that sent the mail.
	Traceparent, Tracestate string

	envelope *eventsv1.MailEnvelope
}

// InDoubt is a mail's own wish for when nobody knows whether it was delivered.
type InDoubt int

// The wishes.
const (
	// LaneDecides: the lane's default.
	LaneDecides InDoubt = iota
	// Resend it.
	Resend
	// Hold it for a decision.
	Hold
)

// Open opens a lane record. The error is record.ErrPoison when it will never
// open or is not fit to be a mail of the lane.
func Open(codec *record.Codec, r custody.Record, lane string) (*Mail, error) {
	e, err := codec.OpenMail(r)
	if err != nil {
		return nil, err
	}
	m := &Mail{
		Key:    Key{e.GetMailId(), e.GetAttempt()},
		Tenant: e.GetTenant(), Lane: e.GetLane(), Recipient: e.GetRecipient(),
		ReturnDomain: e.GetReturnDomain(), FromDomain: e.GetFacts().GetSenderDomain(), UTF8: e.GetSmtputf8(),
		AcceptedAt: e.GetAcceptedAt().AsTime(), ExpiresAt: e.GetExpiresAt().AsTime(),
		Message: e.GetMessage(), Blob: e.GetBlobKey(), Tries: e.GetTries(), PossibleDuplicate: e.GetPossibleDuplicate(),
		Traceparent: e.GetTraceparent(), Tracestate: e.GetTracestate(), envelope: e,
	}
	switch e.GetInDoubt() {
	case eventsv1.InDoubt_IN_DOUBT_RESEND:
		m.InDoubt = Resend
	case eventsv1.InDoubt_IN_DOUBT_HOLD:
		m.InDoubt = Hold
	case eventsv1.InDoubt_IN_DOUBT_UNSPECIFIED:
	}
	at := strings.LastIndexByte(m.Recipient, '@')
	var fault error
	switch {
	case m.MailID == "" || m.Attempt == 0:
		fault = errors.New("it has no id or attempt")
	case m.Lane != lane:
		fault = errors.New("it belongs to another lane")
	case at < 1 || at == len(m.Recipient)-1:
		fault = errors.New("its recipient is no mailbox")
	case e.GetExpiresAt() == nil || e.GetAcceptedAt() == nil:
		fault = errors.New("it has no expiry")
	case len(m.Message) == 0 && m.Blob == "":
		fault = errors.New("it has no message")
	}
	if fault != nil {
		return nil, fmt.Errorf("%w: %w", record.ErrPoison, fault)
	}
	m.Domain = strings.ToLower(m.Recipient[at+1:])
	return m, nil
}

// Parked is how often the mail was sent away without a try, before this
// release.
func (m *Mail) Parked() int { return max(int(m.Attempt)-1-int(m.Tries), 0) }

// later is the envelope of the mail's next release. It shares what it has in
// common with that of this one, the message above all: when a window is parked,
// there are many.
func (m *Mail) later(tries uint32, doubt bool) *eventsv1.MailEnvelope {
	e := new(eventsv1.MailEnvelope)
	next := e.ProtoReflect()
	m.envelope.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		next.Set(field, v)
		return true
	})
	next.SetUnknown(m.envelope.ProtoReflect().GetUnknown())
	e.Attempt++
	e.Tries = m.Tries + tries
	e.PossibleDuplicate = m.PossibleDuplicate || doubt
	return e
}
