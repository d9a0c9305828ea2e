package tracker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

func TestEventsMakeATimeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.start()
	l := bill(1)
	committing := l.event(eventsv1.EventType_EVENT_TYPE_COMMITTING, 1, 500*time.Millisecond)
	w.produce(l.delivered(), committing, l.accepted(), l.delivered(), l.accepted())
	got := h.mail(l.tenant, l.id, func(r *trackerv1.GetMailResponse) bool {
		return r.GetMail().GetState() == mailv1.State_STATE_DELIVERED && len(r.GetTimeline()) == 3
	})
	want := []*eventsv1.Event{l.accepted(), committing, l.delivered()}
	if diff := cmp.Diff(want, got.GetTimeline(), protocmp.Transform()); diff != "" {
		t.Errorf("timeline differs (-want +got):\n%s", diff)
	}
	m := got.GetMail()
	if m.GetTraceId() != "0af7651916cd43dd8448eb211c80319c" || !m.GetAcceptedAt().AsTime().Equal(l.at) || m.GetLane() != "billing" {
		t.Errorf("mail = %v, want its trace, lane and time of acceptance", m)
	}

	list, err := h.api.ListMails(t.Context(), &trackerv1.ListMailsRequest{Recipient: "budi@EXAMPLE.co.id", Campaign: "november"})
	if err != nil || len(list.GetMails()) != 1 || list.GetNextPageToken() != "" {
		t.Errorf("ListMails = %v, %v, want the one mail", list, err)
	}
	for _, c := range []struct {
		name   string
		call   func() error
		kind   fault.Kind
		reason faultv1.Reason
	}{
		{"another tenant's mail", func() error {
			_, err := h.api.GetMail(rpc.WithTenant(t.Context(), "other"), &trackerv1.GetMailRequest{MailId: l.id})
			return err
		}, fault.NotFound, faultv1.Reason_REASON_MAIL_UNKNOWN},
		{"no uuid", func() error {
			_, err := h.api.GetMail(t.Context(), &trackerv1.GetMailRequest{MailId: "x"})
			return err
		}, fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD},
		{"another's page token", func() error {
			_, err := h.api.ListMails(t.Context(), &trackerv1.ListMailsRequest{PageToken: "?"})
			return err
		}, fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD},
		{"a state there is not", func() error {
			_, err := h.api.ListMails(t.Context(), &trackerv1.ListMailsRequest{State: 99})
			return err
		}, fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD},
		{"unknown invoice", func() error {
			_, err := h.api.GetInvoice(t.Context(), &trackerv1.GetInvoiceRequest{InvoiceId: "none"})
			return err
		}, fault.NotFound, faultv1.Reason_REASON_INVOICE_UNKNOWN},
		{"payment without amount", func() error {
			_, err := h.api.ReportBillingEvent(t.Context(), payment("k", "INV-1", nil))
			return err
		}, fault.Invalid, faultv1.Reason_REASON_AMOUNT_INVALID},
		{"payment of less than nothing", func() error {
			_, err := h.api.ReportBillingEvent(t.Context(), payment("k", "INV-1", &mailv1.Money{CurrencyCode: "IDR", Units: -1}))
			return err
		}, fault.Invalid, faultv1.Reason_REASON_AMOUNT_INVALID},
		{"unknown currency", func() error {
			_, err := h.api.ReportBillingEvent(t.Context(), payment("k", "INV-1", &mailv1.Money{CurrencyCode: "QQQ", Units: 1}))
			return err
		}, fault.Invalid, faultv1.Reason_REASON_CURRENCY_UNKNOWN},
		{"a step that is not reported", func() error {
			p := payment("k", "INV-1", nil)
			p.Type = eventsv1.BillingType_BILLING_TYPE_OPENED
			_, err := h.api.ReportBillingEvent(t.Context(), p)
			return err
		}, fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD},
		{"a position there is not", func() error {
			s, err := h.api.WatchEvents(t.Context(), &trackerv1.WatchEventsRequest{After: "x"})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}, fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD},
	} {
		err := c.call()
		if !errors.Is(err, c.kind) || fault.From(err).Reason != c.reason {
			t.Errorf("%s: error = %v, want %v %v", c.name, err, c.kind, c.reason)
		}
	}
}

func payment(key, invoice string, amount *mailv1.Money) *trackerv1.ReportBillingEventRequest {
	return &trackerv1.ReportBillingEventRequest{
		IdempotencyKey: key, InvoiceId: invoice, Type: eventsv1.BillingType_BILLING_TYPE_PAID, Amount: amount,
	}
}

func TestRestartsCountOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const mails = 300
	for round := range 3 {
		h := w.start()
		for n := range mails / 3 {
			l := bill(round*mails/3 + n)
			w.enqueue(l.accepted(), l.delivered())
		}
		w.await(h, 50)
		h.stop() // with much of it under way
	}
	h := w.start()
	got := w.await(h, 2*mails)
	if len(got) != 2*mails {
		t.Errorf("%d events stored, want %d", len(got), 2*mails)
	}
	counts, err := h.api.GetReport(t.Context(), &trackerv1.GetReportRequest{})
	if err != nil || len(counts.GetRows()) != 1 || counts.GetRows()[0].GetDelivered() != mails || counts.GetRows()[0].GetAccepted() != mails {
		t.Errorf("GetReport = %v, %v, want %d accepted and delivered", counts, err, mails)
	}
}

// await watches from the beginning until n events came, and checks that none
// came twice.
func (w *world) await(h *house, n int) []*trackerv1.WatchEventsResponse {
	w.t.Helper()
	stream, err := h.api.WatchEvents(w.t.Context(), &trackerv1.WatchEventsRequest{After: "0"})
	if err != nil {
		w.t.Fatalf("WatchEvents = %v", err)
	}
	seen := make(map[string]bool)
	var out []*trackerv1.WatchEventsResponse
	for len(out) < n {
		res, err := stream.Recv()
		if err != nil {
			w.t.Fatalf("Recv after %d of %d events = %v", len(out), n, err)
		}
		if id := res.GetEvent().GetEventId(); seen[id] {
			w.t.Errorf("event %s came twice", id)
		} else {
			seen[id] = true
		}
		out = append(out, res)
	}
	return out
}

func TestWatchResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.start()
	for n := range 5 {
		w.produce(bill(n).accepted())
	}
	all := w.await(h, 5)
	stream, err := h.api.WatchEvents(t.Context(), &trackerv1.WatchEventsRequest{
		After: all[2].GetPosition(), Types: []eventsv1.EventType{eventsv1.EventType_EVENT_TYPE_ACCEPTED}, Campaign: "november",
	})
	if err != nil {
		t.Fatalf("WatchEvents = %v", err)
	}
	live, err := h.api.WatchEvents(t.Context(), &trackerv1.WatchEventsRequest{MailIds: []string{bill(7).id}})
	if err != nil {
		t.Fatalf("WatchEvents = %v", err)
	}
	if _, err := live.Header(); err != nil { // from here on nothing is missed
		t.Fatalf("Header = %v", err)
	}
	w.produce(bill(6).delivered(), bill(6).accepted(), bill(7).accepted())
	want := []string{
		all[3].GetEvent().GetEventId(), all[4].GetEvent().GetEventId(), bill(6).accepted().GetEventId(), bill(7).accepted().GetEventId(),
	}
	got := map[string]bool{}
	for range want {
		res, err := stream.Recv()
		if err != nil {
			t.Fatalf("Recv = %v", err)
		}
		got[res.GetEvent().GetEventId()] = true
	}
	for _, id := range want {
		if !got[id] {
			t.Errorf("event %s did not come", id)
		}
	}
	if res, err := live.Recv(); err != nil || res.GetEvent().GetMailId() != bill(7).id {
		t.Errorf("Recv = %v, %v, want the event of mail 7", res, err)
	}
	h.stop()
	if _, err := live.Recv(); err == nil {
		t.Error("Recv after the stop = nil, want an error")
	}
}

func TestPoisonGoesToTheDeadTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.start()
	l := bill(1)
	garbage := broker.Message{Topic: w.client.Topics().Events(), Partition: 0, Key: []byte(l.id), Value: []byte("no event")}
	timeless, err := w.codec.Event(&eventsv1.Event{EventId: "e", MailId: l.id, Tenant: "t", Type: eventsv1.EventType_EVENT_TYPE_ACCEPTED})
	if err != nil {
		t.Fatalf("Event = %v", err)
	}
	w.send(garbage)
	w.send(timeless)
	w.produce(l.accepted())
	h.mail(l.tenant, l.id, inState(mailv1.State_STATE_QUEUED))
	dead := w.read(w.client.Topics().Dead(), 2)
	for _, r := range dead {
		back, err := w.codec.OpenDead(r)
		if err != nil {
			t.Fatalf("OpenDead = %v", err)
		}
		if back.Topic != garbage.Topic {
			t.Errorf("dead record came from %q, want %q", back.Topic, garbage.Topic)
		}
	}
}

func TestBillingEventsAreProduced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.start()
	l := bill(1)
	w.produce(l.accepted(), l.delivered())
	h.mail(l.tenant, l.id, inState(mailv1.State_STATE_DELIVERED))
	p := payment("k", l.invoice, &mailv1.Money{CurrencyCode: "IDR", Units: 150_000})
	for range 2 {
		if _, err := h.api.ReportBillingEvent(t.Context(), p); err != nil {
			t.Fatalf("ReportBillingEvent = %v", err)
		}
	}
	got := map[eventsv1.BillingType]*eventsv1.BillingEvent{}
	for _, r := range w.read(w.client.Topics().Billing(), 2) {
		ev, err := w.codec.OpenBilling(r)
		if err != nil {
			t.Fatalf("OpenBilling = %v", err)
		}
		got[ev.GetType()] = ev
	}
	mailed := got[eventsv1.BillingType_BILLING_TYPE_MAILED]
	if mailed.GetMailId() != l.id || mailed.GetInvoiceId() != l.invoice || mailed.GetTenant() != l.tenant {
		t.Errorf("MAILED = %v, want it to name mail, invoice and tenant", mailed)
	}
	if paid := got[eventsv1.BillingType_BILLING_TYPE_PAID]; !proto.Equal(paid.GetAmount(), p.GetAmount()) {
		t.Errorf("PAID = %v, want the amount %v", paid, p.GetAmount())
	}
}
