package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
	"kurir.dev/services/tracker/internal/hit"
	"kurir.dev/services/tracker/internal/ledger"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/wire"
)

func click() *eventsv1.Event {
	return &eventsv1.Event{
		EventId: "e", Type: eventsv1.EventType_EVENT_TYPE_CLICKED, MailId: "m", Tenant: "t", Lane: "billing", Attempt: 2, Sequence: 3,
		OccurredAt: timestamppb.New(time.Date(2026, 11, 21, 12, 0, 0, 1, time.UTC)), Traceparent: "00-a-b-01",
		Facts: &eventsv1.MailFacts{
			Kind: mailv1.Kind_KIND_REMINDER, Template: "reminder", TemplateVersion: "2", Locale: "id-ID", InvoiceId: "INV", ReminderStep: "due-3",
			Campaign: "c", Recipient: "B.udi+x@GMAIL.com", SenderDomain: "shop.example", Amount: &mailv1.Money{CurrencyCode: "IDR", Units: 1, Nanos: 5},
			DueOn: &mailv1.Date{Year: 2026, Month: 2, Day: 3}, Labels: map[string]string{"a": "b"}, MessageId: "<m@x>", Tracked: true,
		},
		Detail: &eventsv1.Event_Hit{Hit: &eventsv1.Hit{Link: "pay", Url: "https://x", Class: eventsv1.HitClass_HIT_CLASS_HUMAN, Reason: "browser"}},
	}
}

func TestDecodeAndAnswer(t *testing.T) {
	t.Parallel()
	e, err := wire.Decode(click())
	if err != nil {
		t.Fatalf("Decode() = %v", err)
	}
	want := &mail.Event{
		ID: "e", Type: mail.Clicked, MailID: "m", Tenant: "t", Lane: "billing", Attempt: 2, Sequence: 3,
		At: time.Date(2026, 11, 21, 12, 0, 0, 1, time.UTC), Traceparent: "00-a-b-01", Hit: &mail.Hit{Link: "pay", Human: true},
		Facts: mail.Facts{
			Kind: mail.Reminder, Template: "reminder", Version: "2", Locale: "id-ID", InvoiceID: "INV", ReminderStep: "due-3", Campaign: "c",
			Recipient: wire.Recipient("budi@gmail.com"), Domain: "gmail.com", SenderDomain: "shop.example",
			Amount: mail.Money{Currency: "IDR", Units: 1, Nanos: 5}, DueOn: "2026-02-03", Body: e.Facts.Body,
		},
		Body: e.Body,
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("Decode() differs (-want +got):\n%s", diff)
	}
	back, err := wire.Answer(*e)
	if err != nil {
		t.Fatalf("Answer() = %v", err)
	}
	if diff := cmp.Diff(click(), back, protocmp.Transform()); diff != "" {
		t.Errorf("Answer(Decode()) differs (-want +got):\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*eventsv1.Event){
		"no type":         func(e *eventsv1.Event) { e.Type = 0 },
		"no id":           func(e *eventsv1.Event) { e.EventId = "" },
		"no mail":         func(e *eventsv1.Event) { e.MailId = "" },
		"no tenant":       func(e *eventsv1.Event) { e.Tenant = "" },
		"no time":         func(e *eventsv1.Event) { e.OccurredAt = nil },
		"time too far":    func(e *eventsv1.Event) { e.OccurredAt = &timestamppb.Timestamp{Seconds: 250_000_000_000} },
		"NUL":             func(e *eventsv1.Event) { e.Facts.InvoiceId = "a\x00b" },
		"long name":       func(e *eventsv1.Event) { e.Facts.Campaign = strings.Repeat("x", 513) },
		"long text":       func(e *eventsv1.Event) { e.Facts.Template = strings.Repeat("x", 2049) },
		"NUL in the link": func(e *eventsv1.Event) { e.GetHit().Link = "\x00" },
	} {
		ev := click()
		spoil(ev)
		if got, err := wire.Decode(ev); err == nil {
			t.Errorf("%s: Decode() = %+v, want an error", name, got)
		}
	}
}

// TestNumbers proves that the domain's numbers are the interface's, by name.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for n := range eventsv1.EventType_name {
		got, want := mail.Type(n).String(), strings.TrimPrefix(eventsv1.EventType_name[n], "EVENT_TYPE_")
		if n > 0 && got != want {
			t.Errorf("mail.Type(%d) = %q, want %q", n, got, want)
		}
	}
	if mail.Types != len(eventsv1.EventType_name) || ledger.Types != len(eventsv1.BillingType_name) {
		t.Errorf("there are %d and %d types, want %d and %d", mail.Types, ledger.Types, len(eventsv1.EventType_name), len(eventsv1.BillingType_name))
	}
	for n := range mailv1.State_name {
		got, want := mail.State(n).String(), strings.TrimPrefix(mailv1.State_name[n], "STATE_")
		if n > 0 && got != want {
			t.Errorf("mail.State(%d) = %q, want %q", n, got, want)
		}
	}
	for n := range eventsv1.BillingType_name {
		got, want := ledger.Type(n).String(), strings.TrimPrefix(eventsv1.BillingType_name[n], "BILLING_TYPE_")
		if n > 0 && got != want {
			t.Errorf("ledger.Type(%d) = %q, want %q", n, got, want)
		}
	}
	for n := range trackerv1.InvoiceState_name {
		got, want := ledger.State(n).String(), strings.TrimPrefix(trackerv1.InvoiceState_name[n], "INVOICE_STATE_")
		if n > 0 && got != want {
			t.Errorf("ledger.State(%d) = %q, want %q", n, got, want)
		}
	}
	for got, want := range map[mail.Kind]mailv1.Kind{
		mail.OTP: mailv1.Kind_KIND_OTP, mail.Bill: mailv1.Kind_KIND_BILL, mail.Reminder: mailv1.Kind_KIND_REMINDER, mail.Generic: mailv1.Kind_KIND_GENERIC,
	} {
		if int(got) != int(want) {
			t.Errorf("kind %d, want %v", got, want)
		}
	}
	if int(hit.Human) != int(eventsv1.HitClass_HIT_CLASS_HUMAN) || int(hit.Machine) != int(eventsv1.HitClass_HIT_CLASS_MACHINE) {
		t.Error("the classes of hits are not the interface's")
	}
}

func TestBilling(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	got := wire.Billing(ledger.Entry{
		ID: "e", Type: ledger.Paid, Tenant: "t", InvoiceID: "INV", At: at, Amount: mail.Money{Currency: "IDR", Units: 7}, MailID: "m", Reference: "r",
	})
	want := &eventsv1.BillingEvent{
		EventId: "e", Type: eventsv1.BillingType_BILLING_TYPE_PAID, Tenant: "t", InvoiceId: "INV", OccurredAt: timestamppb.New(at),
		Amount: &mailv1.Money{CurrencyCode: "IDR", Units: 7}, MailId: "m", PaymentReference: "r",
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("Billing() differs (-want +got):\n%s", diff)
	}
	if got := wire.Date("2026-02-03"); got.GetYear() != 2026 || got.GetMonth() != 2 || got.GetDay() != 3 || wire.Date("") != nil {
		t.Errorf("Date() = %v, want 2026-02-03", got)
	}
}

func FuzzDecode(f *testing.F) {
	seed, err := proto.Marshal(click())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		ev := &eventsv1.Event{}
		if proto.Unmarshal(b, ev) != nil {
			return
		}
		before := proto.Clone(ev)
		e, err := wire.Decode(ev)
		if !proto.Equal(before, ev) {
			t.Fatal("Decode() changed the event")
		}
		if err != nil {
			return
		}
		back, err := wire.Answer(*e)
		if err != nil {
			t.Fatalf("Answer() = %v", err)
		}
		if !proto.Equal(before, back) {
			t.Errorf("Answer(Decode(%v)) = %v", before, back)
		}
	})
}
