package record_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/topic"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

const mailID = "0199a000-0000-7000-8000-000000000001"

func codec(tb testing.TB) *record.Codec {
	tb.Helper()
	k, err := seal.Generate()
	if err != nil {
		tb.Fatal(err)
	}
	return record.NewCodec(k, topic.Names{})
}

func envelope() *eventsv1.MailEnvelope {
	return &eventsv1.MailEnvelope{
		MailId: mailID, Tenant: "acme", Lane: "otp", Attempt: 2, Recipient: "siti@example.id",
		ExpiresAt:   timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
		Facts:       &eventsv1.MailFacts{Kind: mailv1.Kind_KIND_OTP, Labels: map[string]string{"a": "1", "b": "2"}},
		Content:     &eventsv1.MailEnvelope_Message{Message: []byte("Subject: 482913\r\n\r\nhello\r\n")},
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Tracestate: "x=y",
	}
}

// landed is the message as a consumer reads it.
func landed(m broker.Message, partition int, offset int64) custody.Record {
	return custody.Record{
		Topic: m.Topic, Partition: partition, Offset: offset, Key: m.Key, Value: m.Value, Headers: m.Headers,
	}
}

func TestMail(t *testing.T) {
	t.Parallel()
	c, e := codec(t), envelope()
	m, err := c.Mail(e)
	if err != nil {
		t.Fatal(err)
	}
	if m.Topic != "kurir.lane.otp" || m.Partition >= 0 || string(m.Key) != mailID {
		t.Errorf("Mail() goes to %s-%d by key %s", m.Topic, m.Partition, m.Key)
	}
	for _, secret := range []string{"482913", "siti"} {
		if bytes.Contains(m.Value, []byte(secret)) {
			t.Errorf("Mail() leaves %q readable", secret)
		}
		for _, h := range m.Headers {
			if bytes.Contains(h.Value, []byte(secret)) {
				t.Errorf("header %s tells %q", h.Key, secret)
			}
		}
	}
	r := landed(m, 3, 7)
	want := map[string]string{
		record.HeaderMailID: mailID, record.HeaderLane: "otp", record.HeaderTenant: "acme", record.HeaderAttempt: "2",
		record.HeaderExpiresAt: "2026-01-02T03:04:05Z", record.HeaderTraceparent: e.GetTraceparent(),
		record.HeaderTracestate: "x=y", "unknown": "",
	}
	for name, v := range want {
		if got := record.Header(r, name); got != v {
			t.Errorf("Header(%s) = %q, want %q", name, got, v)
		}
	}
	got, err := c.OpenMail(r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, got, protocmp.Transform()); diff != "" {
		t.Errorf("OpenMail(Mail()) mismatch (-want +got):\n%s", diff)
	}
}

func TestDeferral(t *testing.T) {
	t.Parallel()
	c := codec(t)
	d := &eventsv1.Deferral{Envelope: envelope(), DueAt: timestamppb.Now(), Reason: "greylisted", Site: "example.id", Held: true}
	m, err := c.Deferral(d)
	if err != nil || m.Topic != "kurir.deferred.otp" || string(m.Key) != mailID {
		t.Fatalf("Deferral() = %s by %s, %v", m.Topic, m.Key, err)
	}
	got, err := c.OpenDeferral(landed(m, 0, 0))
	if diff := cmp.Diff(d, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("OpenDeferral(Deferral()) = %v, mismatch (-want +got):\n%s", err, diff)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	c := codec(t)
	ev := &eventsv1.Event{
		EventId: record.EventID(mailID, 1, 2, eventsv1.EventType_EVENT_TYPE_DELIVERED),
		Type:    eventsv1.EventType_EVENT_TYPE_DELIVERED, MailId: mailID, Tenant: "acme", Lane: "bulk", Attempt: 1, Sequence: 2,
		Detail:      &eventsv1.Event_AttemptDetail{AttemptDetail: &eventsv1.Attempt{Code: 250}},
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	out, err := c.Outcome(ev, 5)
	if err != nil || out.Topic != "kurir.outcome.bulk" || out.Partition != 5 {
		t.Errorf("Outcome() = %s-%d, %v, want kurir.outcome.bulk-5", out.Topic, out.Partition, err)
	}
	m, err := c.Event(ev)
	if err != nil || m.Topic != "kurir.events" || m.Partition >= 0 {
		t.Errorf("Event() = %s-%d, %v, want kurir.events by key", m.Topic, m.Partition, err)
	}
	for _, m := range []broker.Message{out, m} {
		r := landed(m, 0, 0)
		got, err := c.OpenEvent(r)
		if diff := cmp.Diff(ev, got, protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("OpenEvent() = %v, mismatch (-want +got):\n%s", err, diff)
		}
		if got := record.Header(r, record.HeaderType); got != "EVENT_TYPE_DELIVERED" {
			t.Errorf("Header(type) = %q", got)
		}
	}
}

func TestBilling(t *testing.T) {
	t.Parallel()
	c := codec(t)
	ev := &eventsv1.BillingEvent{EventId: "e", Type: eventsv1.BillingType_BILLING_TYPE_PAID, Tenant: "acme", InvoiceId: "INV-1"}
	m, err := c.Billing(ev)
	if err != nil || m.Topic != "kurir.billing" || string(m.Key) != "acme/INV-1" {
		t.Fatalf("Billing() = %s by %s, %v", m.Topic, m.Key, err)
	}
	got, err := c.OpenBilling(landed(m, 0, 0))
	if diff := cmp.Diff(ev, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("OpenBilling(Billing()) = %v, mismatch (-want +got):\n%s", err, diff)
	}
	if _, err := c.OpenBilling(custody.Record{Value: []byte{0xff}}); !errors.Is(err, record.ErrPoison) {
		t.Errorf("OpenBilling(garbage) = %v, want %v", err, record.ErrPoison)
	}
}

func TestPoison(t *testing.T) {
	t.Parallel()
	c := codec(t)
	m, err := c.Mail(envelope())
	if err != nil {
		t.Fatal(err)
	}
	moved := landed(m, 0, 0)
	moved.Key = []byte("another mail")
	for name, r := range map[string]custody.Record{
		"another key": moved, "plain": {Key: []byte(mailID), Value: []byte("hello 482913")}, "nothing": {},
	} {
		if _, err := c.OpenMail(r); !errors.Is(err, record.ErrPoison) {
			t.Errorf("%s: OpenMail() = %v, want %v", name, err, record.ErrPoison)
		}
		if _, err := c.OpenEvent(r); !errors.Is(err, record.ErrPoison) {
			t.Errorf("%s: OpenEvent() = %v, want %v", name, err, record.ErrPoison)
		}
		if _, err := c.OpenDeferral(r); !errors.Is(err, record.ErrPoison) {
			t.Errorf("%s: OpenDeferral() = %v, want %v", name, err, record.ErrPoison)
		}
	}
	if _, err := c.Mail(&eventsv1.MailEnvelope{}); err == nil {
		t.Error("Mail() without a mail id = nil, want an error")
	}
}

func TestDead(t *testing.T) {
	t.Parallel()
	c := codec(t)
	was := custody.Record{
		Topic: "kurir.lane.otp", Partition: 3, Offset: 99, Key: []byte("k"), Value: []byte("plain text 482913"),
		Headers: []broker.Header{{Key: "a", Value: []byte("b")}},
	}
	m, err := c.Dead(was, "does not decode")
	if err != nil {
		t.Fatal(err)
	}
	if m.Topic != "kurir.dead" || bytes.Contains(m.Value, []byte("482913")) {
		t.Errorf("Dead() goes to %s, or is readable", m.Topic)
	}
	r := landed(m, 0, 0)
	if got := record.Header(r, record.HeaderDeadReason); got != "does not decode" {
		t.Errorf("reason = %q", got)
	}
	got, err := c.OpenDead(r)
	if diff := cmp.Diff(was, got); diff != "" || err != nil {
		t.Errorf("OpenDead(Dead()) = %v, mismatch (-want +got):\n%s", err, diff)
	}
	if _, err := c.OpenDead(was); !errors.Is(err, record.ErrPoison) {
		t.Errorf("OpenDead(of none) = %v, want %v", err, record.ErrPoison)
	}
}

func TestEventID(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for attempt := range uint32(3) {
		for sequence := range uint32(3) {
			for kind := range eventsv1.EventType_name {
				id := record.EventID(mailID, attempt, sequence, eventsv1.EventType(kind))
				if again := record.Final(eventsv1.EventType(kind)) && attempt+sequence > 0; seen[id] != again {
					t.Fatalf("EventID(%d, %d, %v) = %q, told before %v, want %v", attempt, sequence, eventsv1.EventType(kind), id, seen[id], again)
				}
				seen[id] = true
			}
		}
	}
	for kind, want := range map[eventsv1.EventType]string{
		eventsv1.EventType_EVENT_TYPE_DEFERRED:  mailID + "/1/2/deferred",
		eventsv1.EventType_EVENT_TYPE_DELIVERED: mailID + "/0/0/delivered",
	} {
		if got := record.EventID(mailID, 1, 2, kind); got != want {
			t.Errorf("EventID(1, 2, %v) = %q, want %q", kind, got, want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	c := codec(f)
	m, err := c.Mail(envelope())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(mailID), m.Value)
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r := custody.Record{Key: key, Value: value}
		if e, err := c.OpenMail(r); err == nil && e.GetMailId() != string(key) {
			t.Errorf("OpenMail() = mail %q under key %q", e.GetMailId(), key)
		} else if err != nil && !errors.Is(err, record.ErrPoison) {
			t.Errorf("OpenMail() = %v, want %v", err, record.ErrPoison)
		}
		if _, err := c.OpenBilling(r); err != nil && !errors.Is(err, record.ErrPoison) {
			t.Errorf("OpenBilling() = %v, want %v", err, record.ErrPoison)
		}
		if _, err := c.OpenDead(r); err == nil {
			t.Error("OpenDead() of a record without its place = nil")
		}
	})
}
