// Package wire turns the messages of Kurir's interface into what the tracker
// thinks in, and back.
//
// An event goes into the store with the few things of it that decide or select
// something, and beside them as the bytes it came in (mail.Event.Body, and
// mail.Facts.Body for its facts, which lie once with the mail). An answer is
// put together from these bytes, so that what a sender's release knows and
// this one does not is passed on whole.
package wire

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/mailaddr"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	"kurir.dev/services/tracker/internal/mail"
)

// Limits in bytes, of what is indexed and of the rest; far above what the
// interface lets in, below what the databases refuse.
const (
	maxName = 512
	maxText = 2048
)

// Decode reads an event. An error says what makes it unfit to be stored, and
// quotes nothing of it.
func Decode(ev *eventsv1.Event) (*mail.Event, error) {
	at, err := instant(ev.GetOccurredAt())
	if err != nil {
		return nil, err
	}
	e := &mail.Event{
		ID: ev.GetEventId(), Type: mail.Type(ev.GetType()), MailID: ev.GetMailId(), Tenant: ev.GetTenant(), Lane: ev.GetLane(),
		Attempt: ev.GetAttempt(), Sequence: ev.GetSequence(), At: at, Traceparent: ev.GetTraceparent(),
		Facts: Facts(ev.GetFacts()),
	}
	if h := ev.GetHit(); h != nil {
		e.Hit = &mail.Hit{Link: h.GetLink(), Human: h.GetClass() == eventsv1.HitClass_HIT_CLASS_HUMAN}
	}
	if err := check(e); err != nil {
		return nil, err
	}
	if e.Facts.Body, err = encode(ev.GetFacts()); err != nil {
		return nil, err
	}
	if e.Body, err = body(ev); err != nil {
		return nil, err
	}
	return e, nil
}

// body is the event without its facts.
func body(ev *eventsv1.Event) ([]byte, error) {
	facts := ev.GetFacts()
	ev.Facts = nil
	defer func() { ev.Facts = facts }()
	return encode(ev)
}

func encode(m proto.Message) ([]byte, error) {
	if !m.ProtoReflect().IsValid() {
		return nil, nil
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, errors.New("event does not encode")
	}
	return b, nil
}

// Facts reads the facts of a mail, but for their Body.
func Facts(f *eventsv1.MailFacts) mail.Facts {
	out := mail.Facts{
		Kind: mail.Kind(f.GetKind()), Template: f.GetTemplate(), Version: f.GetTemplateVersion(), Locale: f.GetLocale(),
		InvoiceID: f.GetInvoiceId(), ReminderStep: f.GetReminderStep(), Campaign: f.GetCampaign(),
		Recipient: Recipient(f.GetRecipient()), SenderDomain: f.GetSenderDomain(), Amount: Money(f.GetAmount()),
	}
	if _, domain, ok := strings.Cut(out.Recipient, "@"); ok {
		out.Domain = domain
	}
	if d := f.GetDueOn(); d != nil {
		out.DueOn = fmt.Sprintf("%04d-%02d-%02d", d.GetYear(), d.GetMonth(), d.GetDay())
	}
	return out
}

// Recipient is an address in the form that addresses are compared in.
func Recipient(address string) string {
	a, err := mailaddr.Parse(address)
	if err != nil {
		return strings.ToLower(address)
	}
	return a.Key()
}

// Money reads an amount; absent is the zero Money.
func Money(m *mailv1.Money) mail.Money {
	return mail.Money{Currency: m.GetCurrencyCode(), Units: m.GetUnits(), Nanos: m.GetNanos()}
}

// check looks for what the databases would refuse.
func check(e *mail.Event) error {
	if e.Type <= mail.NoType || e.ID == "" || e.MailID == "" || e.Tenant == "" {
		return errors.New("event lacks its type, id, mail id or tenant")
	}
	f := &e.Facts
	names := []string{
		e.ID, e.MailID, e.Tenant, e.Lane, f.InvoiceID, f.Campaign, f.Recipient, f.Domain, f.Amount.Currency, f.DueOn, f.ReminderStep,
	}
	texts := []string{e.Traceparent, f.Template, f.Version, f.Locale, f.SenderDomain}
	if e.Hit != nil {
		texts = append(texts, e.Hit.Link)
	}
	if !sound(names, maxName) || !sound(texts, maxText) {
		return errors.New("event holds a text that is too long or holds NUL")
	}
	return nil
}

func sound(texts []string, limit int) bool {
	for _, s := range texts {
		if len(s) > limit || strings.ContainsRune(s, 0) {
			return false
		}
	}
	return true
}

// instant reads a time that Unix nanoseconds can hold.
func instant(ts *timestamppb.Timestamp) (time.Time, error) {
	const most = math.MaxInt64 / int64(time.Second)
	if ts.CheckValid() != nil || ts.GetSeconds() <= 0 || ts.GetSeconds() >= most {
		return time.Time{}, errors.New("event has no time, or one out of range")
	}
	return ts.AsTime(), nil
}

// Answer puts a stored event together again.
func Answer(e mail.Event) (*eventsv1.Event, error) {
	ev := &eventsv1.Event{}
	if err := proto.Unmarshal(e.Body, ev); err != nil {
		return nil, fmt.Errorf("decoding a stored event: %w", err)
	}
	var err error
	ev.Facts, err = AnswerFacts(e.Facts)
	return ev, err
}

// AnswerFacts puts stored facts together again; nil when none are known.
func AnswerFacts(f mail.Facts) (*eventsv1.MailFacts, error) {
	if len(f.Body) == 0 {
		return nil, nil //nolint:nilnil // nothing is known, and that is the answer
	}
	out := &eventsv1.MailFacts{}
	if err := proto.Unmarshal(f.Body, out); err != nil {
		return nil, fmt.Errorf("decoding stored facts: %w", err)
	}
	return out, nil
}
