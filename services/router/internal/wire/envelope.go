// Package wire is where the router's words meet proto and Kafka: it packs
// mails into envelopes and decisions into events, carries them to the broker,
// and reads deferrals.
package wire

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/mailaddr"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/waiting"
)

// Facts takes what the router reads out of a mail's facts and encodes the
// whole, unknown fields too.
func Facts(f *eventsv1.MailFacts) (mail.Facts, error) {
	carried, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
	if err != nil {
		return mail.Facts{}, fmt.Errorf("encoding facts: %w", err)
	}
	return mail.Facts{Invoice: f.GetInvoiceId(), Template: f.GetTemplate(), Carried: carried}, nil
}

// facts is the reverse of Facts.
func facts(f mail.Facts) (*eventsv1.MailFacts, error) {
	out := &eventsv1.MailFacts{}
	if err := proto.Unmarshal(f.Carried, out); err != nil {
		return nil, fmt.Errorf("decoding facts: %w", err)
	}
	return out, nil
}

// Kind is a kind of mail as the router knows it.
func Kind(k mailv1.Kind) mail.Kind { return mail.Kind(k) }

// envelope packs a mail.
func envelope(m mail.Mail) (*eventsv1.MailEnvelope, error) {
	f, err := facts(m.Facts)
	if err != nil {
		return nil, err
	}
	return &eventsv1.MailEnvelope{
		MailId:       m.ID,
		Tenant:       m.Tenant,
		Lane:         m.Lane,
		Attempt:      m.Attempt,
		Recipient:    m.Recipient,
		ReturnDomain: m.ReturnDomain,
		Smtputf8:     m.SMTPUTF8,
		AcceptedAt:   timestamppb.New(m.AcceptedAt),
		ExpiresAt:    timestamppb.New(m.ExpiresAt),
		Facts:        f,
		Content:      &eventsv1.MailEnvelope_Message{Message: m.Message},

		PossibleDuplicate: m.Doubtful,
	}, nil
}

// Deferred is the waiting-room form of a deferral that was told at a time, but
// for its envelope, which is sealed by whoever stores it. A deferral is held
// when nobody knows whether the mail was delivered.
func Deferred(d *eventsv1.Deferral, at time.Time) waiting.Mail {
	e := d.GetEnvelope()
	m := waiting.Mail{
		ID:        e.GetMailId(),
		Tenant:    e.GetTenant(),
		Lane:      e.GetLane(),
		Kind:      Kind(e.GetFacts().GetKind()),
		Site:      d.GetSite(),
		Invoice:   e.GetFacts().GetInvoiceId(),
		Template:  e.GetFacts().GetTemplate(),
		Attempt:   e.GetAttempt(),
		State:     waiting.Deferred,
		Held:      d.GetHeld(),
		InDoubt:   d.GetHeld() || e.GetPossibleDuplicate(),
		Hint:      mail.Hint(e.GetRecipient()),
		Reason:    d.GetReason(),
		DueAt:     moment(d.GetDueAt()),
		ExpiresAt: moment(e.GetExpiresAt()),
	}
	if m.Held {
		m.HeldAt = at.UTC().Truncate(time.Microsecond)
	}
	// Whatever came through admission parses; a foreign one still has a key.
	key := e.GetRecipient()
	if addr, err := mailaddr.Parse(key); err == nil {
		m.Domain, key = addr.Domain(), addr.Key()
	}
	m.Recipient = mail.KeyOf(m.Tenant, key)
	return m
}

// moment is a time in the precision that stores keep; zero for absent.
func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime().Truncate(time.Microsecond)
}
