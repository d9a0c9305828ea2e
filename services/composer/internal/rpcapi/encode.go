package rpcapi

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/composer/internal/civil"
	"kurir.dev/services/composer/internal/kind"
	"kurir.dev/services/composer/internal/money"
	"kurir.dev/services/composer/internal/submission"
	"kurir.dev/services/composer/internal/template"
)

func encodeSubmission(s *submission.Submission) *routerv1.Submission {
	out := &routerv1.Submission{
		MailId: s.MailID, Tenant: s.Tenant, IdempotencyKey: s.Key, Fingerprint: s.Fingerprint, Lane: s.Lane,
		ReturnDomain: s.ReturnDomain, Recipient: s.Recipient, Message: s.Message, SendAt: encodeTime(s.SendAt),
		Smtputf8: s.SMTPUTF8,
		Facts: &eventsv1.MailFacts{
			Kind: encodeKind(s.Facts.Kind), Template: s.Facts.Template, TemplateVersion: s.Facts.Version,
			Locale: s.Facts.Locale, InvoiceId: s.Facts.InvoiceID, ReminderStep: s.Facts.ReminderStep,
			Amount: encodeMoney(s.Facts.Amount), DueOn: encodeDate(s.Facts.DueOn), Campaign: s.Facts.Campaign,
			Labels: s.Facts.Labels, MessageId: s.Facts.MessageID, Recipient: s.Facts.Recipient,
			SenderDomain: s.Facts.SenderDomain, Tracked: s.Facts.Tracked,
		},
	}
	if s.ExpiresIn != 0 {
		out.ExpiresIn = durationpb.New(s.ExpiresIn)
	}
	return out
}

func decodeReceipt(r *mailv1.Receipt) submission.Receipt {
	return submission.Receipt{
		MailID: r.GetMailId(), Lane: r.GetLane(), Scheduled: r.GetState() == mailv1.State_STATE_SCHEDULED,
		AcceptedAt: decodeTime(r.GetAcceptedAt()), ExpiresAt: decodeTime(r.GetExpiresAt()),
		SendAt: decodeTime(r.GetSendAt()), Replayed: r.GetReplayed(),
	}
}

func encodeReceipt(r submission.Receipt) *mailv1.Receipt {
	state := mailv1.State_STATE_QUEUED
	if r.Scheduled {
		state = mailv1.State_STATE_SCHEDULED
	}
	return &mailv1.Receipt{
		MailId: r.MailID, Lane: r.Lane, State: state, AcceptedAt: encodeTime(r.AcceptedAt),
		ExpiresAt: encodeTime(r.ExpiresAt), SendAt: encodeTime(r.SendAt), Replayed: r.Replayed,
	}
}

func encodeTemplate(t *template.Template) *mailv1.Template {
	out := &mailv1.Template{
		Name: t.Name, Version: t.Version, Kind: encodeKind(t.Kind), Locales: t.Locales(), Description: t.Description,
	}
	for _, v := range t.Variables {
		out.Variables = append(out.Variables, &mailv1.Variable{Name: v.Name, Description: v.Description, Required: v.Required})
	}
	return out
}

func encodeKind(k kind.Kind) mailv1.Kind {
	switch k {
	case kind.OTP:
		return mailv1.Kind_KIND_OTP
	case kind.Bill:
		return mailv1.Kind_KIND_BILL
	case kind.Reminder:
		return mailv1.Kind_KIND_REMINDER
	case kind.Generic:
		return mailv1.Kind_KIND_GENERIC
	}
	return mailv1.Kind_KIND_UNSPECIFIED
}

// encodeMoney returns nil for the zero amount.
func encodeMoney(a money.Amount) *mailv1.Money {
	if a.Currency == "" {
		return nil
	}
	return &mailv1.Money{CurrencyCode: a.Currency, Units: a.Units, Nanos: a.Nanos}
}

// encodeDate returns nil for the zero day.
func encodeDate(d civil.Date) *mailv1.Date {
	if d.Zero() {
		return nil
	}
	return &mailv1.Date{Year: int32(d.Year), Month: int32(d.Month), Day: int32(d.Day)}
}

// encodeTime returns nil for the zero time.
func encodeTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// decodeTime returns the zero time for nil.
func decodeTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
