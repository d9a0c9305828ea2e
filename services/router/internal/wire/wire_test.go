package wire

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/waiting"
)

func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func TestFactsRoundTrip(t *testing.T) {
	t.Parallel()
	in := &eventsv1.MailFacts{
		Kind: mailv1.Kind_KIND_REMINDER, Template: "due", TemplateVersion: "3", Locale: "id-ID", InvoiceId: "INV-1",
		ReminderStep: "due-3", Amount: &mailv1.Money{CurrencyCode: "IDR", Units: 150000}, DueOn: &mailv1.Date{Year: 2026, Month: 12, Day: 1},
		Campaign: "c", Labels: map[string]string{"a": "b", "c": "d"}, MessageId: "<x@y>", Recipient: "budi@example.com",
		SenderDomain: "acme.example", Tracked: true,
	}
	// A field of a later version must pass through.
	in.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 7))
	f, err := Facts(in)
	if err != nil || f.Invoice != "INV-1" || f.Template != "due" {
		t.Fatalf("Facts() = %+v, %v, want invoice and template", f, err)
	}
	out, err := facts(f)
	if diff := cmp.Diff(in, out, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("facts(Facts()) = %v (-in +out):\n%s", err, diff)
	}
}

func TestKindsAgree(t *testing.T) {
	t.Parallel()
	for p, k := range map[mailv1.Kind]mail.Kind{
		mailv1.Kind_KIND_UNSPECIFIED: mail.KindNone, mailv1.Kind_KIND_OTP: mail.KindOTP, mailv1.Kind_KIND_BILL: mail.KindBill,
		mailv1.Kind_KIND_REMINDER: mail.KindReminder, mailv1.Kind_KIND_GENERIC: mail.KindGeneric,
	} {
		if got := Kind(p); got != k {
			t.Errorf("Kind(%v) = %v, want %v", p, got, k)
		}
	}
	if len(mailv1.Kind_name) != 5 {
		t.Errorf("proto has %d kinds, want the router to know each", len(mailv1.Kind_name))
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	t.Parallel()
	f, err := Facts(&eventsv1.MailFacts{Kind: mailv1.Kind_KIND_BILL, InvoiceId: "INV-1", Template: "bill"})
	if err != nil {
		t.Fatalf("Facts() = %v", err)
	}
	m := mail.Mail{
		ID: "m1", Tenant: "acme", Lane: "billing", Kind: mail.KindBill, Attempt: 1, Recipient: "budi@example.com",
		Domain: "example.com", Key: mail.KeyOf("acme", "budi@example.com"), ReturnDomain: "bounce.acme.example", SMTPUTF8: true,
		AcceptedAt: noon(), ExpiresAt: noon().Add(time.Hour), Facts: f, Message: []byte("hi"),
	}
	e, err := envelope(m)
	if err != nil {
		t.Fatalf("envelope() = %v", err)
	}
	want := &eventsv1.MailEnvelope{
		MailId: "m1", Tenant: "acme", Lane: "billing", Attempt: 1, Recipient: "budi@example.com", ReturnDomain: "bounce.acme.example",
		Smtputf8: true, AcceptedAt: timestamppb.New(noon()), ExpiresAt: timestamppb.New(noon().Add(time.Hour)),
		Facts:   &eventsv1.MailFacts{Kind: mailv1.Kind_KIND_BILL, InvoiceId: "INV-1", Template: "bill"},
		Content: &eventsv1.MailEnvelope_Message{Message: []byte("hi")},
	}
	if diff := cmp.Diff(want, e, protocmp.Transform()); diff != "" {
		t.Errorf("envelope() (-want +got):\n%s", diff)
	}
	e.Attempt = 2
	got := Deferred(&eventsv1.Deferral{
		Envelope: e, DueAt: timestamppb.New(noon().Add(time.Minute)), Reason: "greylisted", Site: "example.net", Held: true,
	}, noon())
	wantWaiting := waiting.Mail{
		ID: "m1", Tenant: "acme", Lane: "billing", Kind: mail.KindBill, Domain: "example.com", Site: "example.net",
		Invoice: "INV-1", Template: "bill", Recipient: m.Key, Attempt: 2, State: waiting.Deferred, Held: true,
		HeldAt: noon(), InDoubt: true, Hint: "b***@example.com",
		Reason: "greylisted", DueAt: noon().Add(time.Minute), ExpiresAt: noon().Add(time.Hour),
	}
	if diff := cmp.Diff(wantWaiting, got); diff != "" {
		t.Errorf("Deferred() (-want +got):\n%s", diff)
	}
}

// TestEventsAreOneHoweverOften: telling a thing twice gives one event id, and
// different things give different ones.
func TestEventsAreOneHoweverOften(t *testing.T) {
	t.Parallel()
	e := &eventsv1.MailEnvelope{MailId: "m1", Tenant: "acme", Lane: "billing", AcceptedAt: timestamppb.New(noon()), Traceparent: "tp"}
	w := waiting.Mail{ID: "m1", Attempt: 2, Reason: "why", HeldAt: noon()}
	later := w
	later.HeldAt = noon().Add(time.Second)
	ending := func(end waiting.Ending) waiting.Mail { m := w; m.Ending = end; return m }
	seen := map[string]string{}
	for name, c := range map[string]struct {
		make    func(at time.Time) *eventsv1.Event
		typ     eventsv1.EventType
		attempt uint32
	}{
		"accepted": {func(time.Time) *eventsv1.Event { return accepted(e, admission.Receipt{}) }, eventsv1.EventType_EVENT_TYPE_ACCEPTED, 0},
		"scheduled": {
			func(time.Time) *eventsv1.Event { return scheduled(e, w) },
			eventsv1.EventType_EVENT_TYPE_SCHEDULED, 0,
		},
		"released":   {func(at time.Time) *eventsv1.Event { return released(e, w, at) }, eventsv1.EventType_EVENT_TYPE_RELEASED, 2},
		"held":       {func(time.Time) *eventsv1.Event { return held(e, w) }, eventsv1.EventType_EVENT_TYPE_HELD, 1},
		"held again": {func(time.Time) *eventsv1.Event { return held(e, later) }, eventsv1.EventType_EVENT_TYPE_HELD, 1},
		"decided":    {func(at time.Time) *eventsv1.Event { return decided(e, w, at) }, eventsv1.EventType_EVENT_TYPE_DECIDED, 1},
		"delivered":  {func(at time.Time) *eventsv1.Event { return settled(e, ending(waiting.Delivered), at) }, eventsv1.EventType_EVENT_TYPE_DELIVERED, 1},
		"cancelled":  {func(at time.Time) *eventsv1.Event { return settled(e, ending(waiting.Cancelled), at) }, eventsv1.EventType_EVENT_TYPE_CANCELLED, 1},
		"suppressed": {func(at time.Time) *eventsv1.Event { return settled(e, ending(waiting.Suppressed), at) }, eventsv1.EventType_EVENT_TYPE_SUPPRESSED, 1},
		"expired":    {func(at time.Time) *eventsv1.Event { return settled(e, ending(waiting.Expired), at) }, eventsv1.EventType_EVENT_TYPE_EXPIRED, 1},
	} {
		a, b := c.make(noon()), c.make(noon().Add(time.Minute))
		if a.GetType() != c.typ || a.GetAttempt() != c.attempt || a.GetTraceparent() != "tp" || a.GetMailId() != "m1" {
			t.Errorf("%s = %v, want type %v of attempt %d", name, a, c.typ, c.attempt)
		}
		if a.GetEventId() != b.GetEventId() || seen[a.GetEventId()] != "" {
			t.Errorf("%s has ids %s and %s, also of %q, want one of its own", name, a.GetEventId(), b.GetEventId(), seen[a.GetEventId()])
		}
		seen[a.GetEventId()] = name
	}
}
