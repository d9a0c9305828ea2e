package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	"kurir.dev/services/tracker/internal/ledger"
	"kurir.dev/services/tracker/internal/mail"
)

// Billing makes the interface's event of a ledger entry.
func Billing(e ledger.Entry) *eventsv1.BillingEvent {
	return &eventsv1.BillingEvent{
		EventId: e.ID, Type: eventsv1.BillingType(e.Type), // numbered alike
		Tenant: e.Tenant, InvoiceId: e.InvoiceID, OccurredAt: Timestamp(e.At),
		Amount: AnswerMoney(e.Amount), MailId: e.MailID, PaymentReference: e.Reference,
	}
}

// AnswerMoney makes the interface's amount; the zero Money is absent.
func AnswerMoney(m mail.Money) *mailv1.Money {
	if m == (mail.Money{}) {
		return nil
	}
	return &mailv1.Money{CurrencyCode: m.Currency, Units: m.Units, Nanos: m.Nanos}
}

// Date makes the interface's day of YYYY-MM-DD; empty is absent.
func Date(day string) *mailv1.Date {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return nil
	}
	return &mailv1.Date{Year: int32(t.Year()), Month: int32(t.Month()), Day: int32(t.Day())}
}

// Timestamp makes the interface's time; the zero Time is absent.
func Timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
