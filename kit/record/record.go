// Package record turns the messages of kurir.events.v1 into Kafka records and
// back.
//
// A value is the deterministic protobuf encoding, sealed whole ([seal]) with
// the mail's id as associated data: a record whose key was swapped for
// another's does not open. Only invoice life, meant for product services, is
// plain. Headers carry what routing and operators need without opening
// anything, and never an address.
//
// What does not open is poison: [ErrPoison]. [Codec.Dead] wraps such a record
// for the dead topic, [Codec.OpenDead] unwraps it for a replay.
package record

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/topic"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

// Headers of records.
const (
	HeaderMailID      = "kurir-mail-id"
	HeaderLane        = "kurir-lane"
	HeaderTenant      = "kurir-tenant"
	HeaderAttempt     = "kurir-attempt"
	HeaderExpiresAt   = "kurir-expires-at"
	HeaderType        = "kurir-type"
	HeaderTraceparent = "traceparent"
	HeaderTracestate  = "tracestate"
)

// ErrPoison is the error of a record that will never open: another keyring,
// another key than its own, or bytes that are no such message.
var ErrPoison = errors.New("record does not decode")

// Codec makes and opens records. Safe for concurrent use.
type Codec struct {
	keys  *seal.Keyring
	names topic.Names
}

// NewCodec makes a codec that seals with k and names topics by n.
func NewCodec(k *seal.Keyring, n topic.Names) *Codec { return &Codec{keys: k, names: n} }

// Mail makes the lane record of e. Whoever puts it there says into which
// partition: that of its mail id in one of the bands
// ([broker.Producer.PartitionIn]), the same however often it is put with one
// attempt, for there the dispatchers know what they have had.
func (c *Codec) Mail(e *eventsv1.MailEnvelope) (broker.Message, error) {
	value, err := c.SealEnvelope(e)
	if err != nil {
		return broker.Message{}, err
	}
	return broker.Message{
		Topic: c.names.Lane(e.GetLane()), Partition: -1, Key: []byte(e.GetMailId()), Value: value,
		Headers: envelopeHeaders(e),
	}, nil
}

// OpenMail opens a lane record; [ErrPoison] when it cannot be opened.
func (c *Codec) OpenMail(r custody.Record) (*eventsv1.MailEnvelope, error) {
	return c.OpenEnvelope(string(r.Key), r.Value)
}

// SealEnvelope seals an envelope as it stands in a lane record.
func (c *Codec) SealEnvelope(e *eventsv1.MailEnvelope) ([]byte, error) {
	return c.seal(e, e.GetMailId())
}

// OpenEnvelope opens what [Codec.SealEnvelope] sealed for this mail;
// [ErrPoison] when it cannot be opened.
func (c *Codec) OpenEnvelope(mailID string, sealed []byte) (*eventsv1.MailEnvelope, error) {
	e := &eventsv1.MailEnvelope{}
	if err := c.open(sealed, mailID, e); err != nil {
		return nil, err
	}
	if e.GetMailId() != mailID {
		return nil, fmt.Errorf("envelope of another mail: %w", ErrPoison)
	}
	return e, nil
}

// Deferral makes the record that takes a mail to the waiting room, on the topic
// of its lane.
func (c *Codec) Deferral(d *eventsv1.Deferral) (broker.Message, error) {
	id := d.GetEnvelope().GetMailId()
	value, err := c.seal(d, id)
	if err != nil {
		return broker.Message{}, err
	}
	return broker.Message{
		Topic: c.names.Deferred(d.GetEnvelope().GetLane()), Partition: -1, Key: []byte(id), Value: value,
		Headers: envelopeHeaders(d.GetEnvelope()),
	}, nil
}

// OpenDeferral opens a record of a topic of deferred mail; [ErrPoison] when it
// cannot be opened.
func (c *Codec) OpenDeferral(r custody.Record) (*eventsv1.Deferral, error) {
	d := &eventsv1.Deferral{}
	if err := c.open(r.Value, string(r.Key), d); err != nil {
		return nil, err
	}
	if d.GetEnvelope().GetMailId() != string(r.Key) {
		return nil, fmt.Errorf("deferral of another mail: %w", ErrPoison)
	}
	return d, nil
}

// Outcome makes the record of what an attempt came to. partition is that of
// the lane record it answers: there its successor looks for it.
func (c *Codec) Outcome(ev *eventsv1.Event, partition int) (broker.Message, error) {
	m, err := c.event(ev)
	m.Topic, m.Partition = c.names.Outcome(ev.GetLane()), partition
	return m, err
}

// Event makes the record of an event that is no outcome.
func (c *Codec) Event(ev *eventsv1.Event) (broker.Message, error) {
	m, err := c.event(ev)
	m.Topic, m.Partition = c.names.Events(), -1
	return m, err
}

func (c *Codec) event(ev *eventsv1.Event) (broker.Message, error) {
	value, err := c.seal(ev, ev.GetMailId())
	if err != nil {
		return broker.Message{}, err
	}
	return broker.Message{Key: []byte(ev.GetMailId()), Value: value, Headers: eventHeaders(ev)}, nil
}

// OpenEvent opens a record of an outcome topic or the events topic;
// [ErrPoison] when it cannot be opened.
func (c *Codec) OpenEvent(r custody.Record) (*eventsv1.Event, error) {
	ev := &eventsv1.Event{}
	if err := c.open(r.Value, string(r.Key), ev); err != nil {
		return nil, err
	}
	if ev.GetMailId() != string(r.Key) {
		return nil, fmt.Errorf("event of another mail: %w", ErrPoison)
	}
	return ev, nil
}

// Billing makes the record of a step in an invoice's life, keyed by tenant
// and invoice, not sealed: product services read it with their own clients.
func (c *Codec) Billing(ev *eventsv1.BillingEvent) (broker.Message, error) {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(ev)
	if err != nil {
		return broker.Message{}, fmt.Errorf("encoding billing event: %w", err)
	}
	return broker.Message{
		Topic: c.names.Billing(), Partition: -1, Key: []byte(ev.GetTenant() + "/" + ev.GetInvoiceId()), Value: value,
		Headers: compact(header(HeaderTenant, ev.GetTenant()), header(HeaderType, ev.GetType().String())),
	}, nil
}

// OpenBilling opens a record of the billing topic; [ErrPoison] when it cannot.
func (*Codec) OpenBilling(r custody.Record) (*eventsv1.BillingEvent, error) {
	ev := &eventsv1.BillingEvent{}
	if err := proto.Unmarshal(r.Value, ev); err != nil {
		return nil, fmt.Errorf("decoding billing event: %w", ErrPoison)
	}
	return ev, nil
}

func (c *Codec) seal(m proto.Message, mailID string) ([]byte, error) {
	if mailID == "" {
		return nil, fmt.Errorf("sealing %s: it names no mail", m.ProtoReflect().Descriptor().Name())
	}
	b := c.keys.Borrow()
	defer c.keys.Return(b)
	var err error
	if b.Bytes, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(b.Bytes, m); err != nil {
		return nil, fmt.Errorf("encoding %s: not valid", m.ProtoReflect().Descriptor().Name())
	}
	return c.keys.Seal(b.Bytes, []byte(mailID))
}

func (c *Codec) open(sealed []byte, mailID string, into proto.Message) error {
	b := c.keys.Borrow()
	defer c.keys.Return(b)
	plain, err := c.keys.AppendOpen(b.Bytes, sealed, []byte(mailID))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPoison, err)
	}
	b.Bytes = plain
	if err := proto.Unmarshal(plain, into); err != nil {
		return fmt.Errorf("decoding %s: %w", into.ProtoReflect().Descriptor().Name(), ErrPoison)
	}
	return nil
}

// EventID is the id of an event: the same for every telling of the same
// event, and of no other. A final event has one id per mail, whichever try it
// came of: a mail that two owners of its record end alike, neither knowing of the
// other, ends once.
func EventID(mailID string, attempt, sequence uint32, t eventsv1.EventType) string {
	if Final(t) {
		attempt, sequence = 0, 0
	}
	kind := strings.ToLower(strings.TrimPrefix(t.String(), "EVENT_TYPE_"))
	return mailID + "/" + strconv.FormatUint(uint64(attempt), 10) + "/" +
		strconv.FormatUint(uint64(sequence), 10) + "/" + kind
}

// Final says whether an event of the type is the end of its mail.
func Final(t eventsv1.EventType) bool {
	switch t {
	case eventsv1.EventType_EVENT_TYPE_DELIVERED, eventsv1.EventType_EVENT_TYPE_BOUNCED, eventsv1.EventType_EVENT_TYPE_EXPIRED,
		eventsv1.EventType_EVENT_TYPE_CANCELLED, eventsv1.EventType_EVENT_TYPE_SUPPRESSED:
		return true
	default:
		return false
	}
}

// Header returns the value of the record's first header of that name, "" for
// none.
func Header(r custody.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

func envelopeHeaders(e *eventsv1.MailEnvelope) []broker.Header {
	var expires string
	if e.GetExpiresAt() != nil {
		expires = e.GetExpiresAt().AsTime().Format(time.RFC3339Nano)
	}
	return compact(
		header(HeaderMailID, e.GetMailId()),
		header(HeaderLane, e.GetLane()),
		header(HeaderTenant, e.GetTenant()),
		header(HeaderAttempt, strconv.FormatUint(uint64(e.GetAttempt()), 10)),
		header(HeaderExpiresAt, expires),
		header(HeaderTraceparent, e.GetTraceparent()),
		header(HeaderTracestate, e.GetTracestate()),
	)
}

func eventHeaders(ev *eventsv1.Event) []broker.Header {
	return compact(
		header(HeaderMailID, ev.GetMailId()),
		header(HeaderLane, ev.GetLane()),
		header(HeaderTenant, ev.GetTenant()),
		header(HeaderAttempt, strconv.FormatUint(uint64(ev.GetAttempt()), 10)),
		header(HeaderType, ev.GetType().String()),
		header(HeaderTraceparent, ev.GetTraceparent()),
	)
}

func header(key, value string) broker.Header { return broker.Header{Key: key, Value: []byte(value)} }

// compact leaves out headers without a value.
func compact(headers ...broker.Header) []broker.Header {
	n := 0
	for _, h := range headers {
		if len(h.Value) > 0 {
			headers[n] = h
			n++
		}
	}
	return headers[:n]
}
