package router_test

import (
	"testing"
	"time"

	"kurir.dev/kit/fault"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// doubtful has n mails wait for a decision, as dispatchers leave them.
func (h *house) doubtful(n int) []*eventsv1.Deferral {
	h.tb.Helper()
	d := h.dispatch()
	var held []*eventsv1.Deferral
	for range n {
		m := h.deferral()
		m.Held, m.Reason = true, "the connection was lost after the message was sent"
		d.produce(h.codec.Deferral(m))
		held = append(held, m)
	}
	h.list(n)
	return held
}

// TestHeldIsDecided: mail in doubt is listed with what is known of it, and each
// verdict ends it its own way, told in its timeline.
func TestHeldIsDecided(t *testing.T) {
	t.Parallel()
	h := setup(t)
	held := h.doubtful(4)
	scope := &routerv1.Scope{Tenant: "acme", Held: true, InDoubt: true}
	list, err := h.api.ListWaiting(t.Context(), &routerv1.ListWaitingRequest{Scope: scope})
	if err != nil || len(list.GetMails()) != len(held) {
		t.Fatalf("ListWaiting(in doubt) = %v, %v, want %d", list, err, len(held))
	}
	for _, m := range list.GetMails() {
		if !m.GetInDoubt() || m.GetHeldSince() == nil || m.GetHeldUntil() != nil || m.GetRecipient() != "b***@example.com" ||
			m.GetSite() != "example.net" || m.GetLane() != "billing" || m.GetReason() == "" {
			t.Errorf("ListWaiting() = %v, want why, since when, lane, site and the recipient masked", m)
		}
	}
	events, lane := h.events(), h.lane("billing")
	for i, c := range []struct {
		verdict routerv1.Verdict
		ends    eventsv1.EventType
		said    string
	}{
		{routerv1.Verdict_VERDICT_SEND, eventsv1.EventType_EVENT_TYPE_RELEASED, "send: asked them"},
		{routerv1.Verdict_VERDICT_DELIVERED, eventsv1.EventType_EVENT_TYPE_DELIVERED, "delivered: asked them"},
		{routerv1.Verdict_VERDICT_CANCEL, eventsv1.EventType_EVENT_TYPE_CANCELLED, "cancelled: asked them"},
		{routerv1.Verdict_VERDICT_EXPIRE, eventsv1.EventType_EVENT_TYPE_EXPIRED, "expired: asked them"},
	} {
		id := held[i].GetEnvelope().GetMailId()
		one := &routerv1.Scope{MailIds: []string{id}}
		resp, err := h.api.Decide(t.Context(), &routerv1.DecideRequest{Scope: one, Verdict: c.verdict, Reason: "asked them"})
		if err != nil || resp.GetDecided() != 1 {
			t.Fatalf("Decide(%v) = %v, %v, want 1", c.verdict, resp, err)
		}
		decided := events.until(eventsv1.EventType_EVENT_TYPE_DECIDED)
		if decided.GetMailId() != id || decided.GetNote().GetReason() != c.said || decided.GetAttempt() != 1 || decided.GetTraceparent() == "" {
			t.Errorf("event = %v, want DECIDED of the mail, %q", decided, c.said)
		}
		if ev := events.until(c.ends); ev.GetMailId() != id || ev.GetFacts().GetInvoiceId() != "INV-1" {
			t.Errorf("event = %v, want %v of the mail", ev, c.ends)
		}
		_, err = h.api.Decide(t.Context(), &routerv1.DecideRequest{Scope: one, Verdict: c.verdict})
		if f := fault.From(err); f == nil || f.Reason != faultv1.Reason_REASON_MAIL_SETTLED {
			t.Errorf("Decide(%v) again = %v, want it refused as settled", c.verdict, err)
		}
	}
	if e := lane.mail(); e.GetMailId() != held[0].GetEnvelope().GetMailId() || !e.GetPossibleDuplicate() || e.GetAttempt() != 2 {
		t.Errorf("lane record = %v, want the mail marked as a possible duplicate", e)
	}
	h.list(0)
}

// TestHoldIsTold: an operator's hold, and its end by itself, stand in the
// timeline; a mail that was never in doubt is no possible duplicate.
func TestHoldIsTold(t *testing.T) {
	t.Parallel()
	h := setup(t)
	s := h.later("")
	h.submit(s)
	events := h.events()
	if ev := events.until(eventsv1.EventType_EVENT_TYPE_SCHEDULED); !ev.GetAcceptance().GetSendAt().AsTime().Equal(s.GetSendAt().AsTime()) {
		t.Errorf("event = %v, want SCHEDULED with its time", ev)
	}
	one := &routerv1.Scope{MailIds: []string{s.GetMailId()}}
	if _, err := h.api.Hold(t.Context(), &routerv1.HoldRequest{Scope: one, Reason: "looks odd"}); err != nil {
		t.Fatalf("Hold() = %v", err)
	}
	if ev := events.until(eventsv1.EventType_EVENT_TYPE_HELD); ev.GetMailId() != s.GetMailId() || ev.GetAttemptDetail().GetText() != "looks odd" {
		t.Errorf("event = %v, want HELD and why", ev)
	}
	h.pass(2 * time.Hour)
	resp, err := h.api.Decide(t.Context(), &routerv1.DecideRequest{Scope: one, Verdict: routerv1.Verdict_VERDICT_SEND})
	if err != nil || resp.GetDecided() != 1 {
		t.Fatalf("Decide() = %v, %v, want 1", resp, err)
	}
	events.until(eventsv1.EventType_EVENT_TYPE_DECIDED)
	if e := h.lane("billing").mail(); e.GetMailId() != s.GetMailId() || e.GetPossibleDuplicate() {
		t.Errorf("lane record = %v, want the mail, which nobody has seen yet", e)
	}
}

// TestUnreadableExpires: a waiting mail whose key was lost ends all the same.
func TestUnreadableExpires(t *testing.T) {
	t.Parallel()
	h := setup(t)
	s := h.later("")
	h.submit(s)
	h.events().until(eventsv1.EventType_EVENT_TYPE_SCHEDULED)
	h.stop()
	other := build(t)
	h.keys, h.codec = other.keys, other.codec
	h.start()
	h.await(true)
	h.pass(100 * 24 * time.Hour)
	reader := h.events()
	reader.next() // SCHEDULED, under the lost key
	ev, err := h.codec.OpenEvent(reader.next())
	if err != nil || ev.GetType() != eventsv1.EventType_EVENT_TYPE_EXPIRED || ev.GetMailId() != s.GetMailId() || ev.GetTenant() != "acme" {
		t.Errorf("event = %v, %v, want EXPIRED from what the room knows", ev, err)
	}
}
