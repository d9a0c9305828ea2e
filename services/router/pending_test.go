package router_test

import (
	"context"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/topic"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// abandon leaves a key pending whose mail lies on its lane, as a router does
// that dies between the broker's acknowledgement and its own note of it.
func (h *house) abandon(key string, band topic.Band) *routerv1.Submission {
	h.tb.Helper()
	s := h.lose(key)
	// The first program is gone; what it had sent arrives.
	e := &eventsv1.MailEnvelope{
		MailId: s.GetMailId(), Tenant: s.GetTenant(), Lane: "billing", Attempt: 1, Recipient: s.GetRecipient(), Facts: s.GetFacts(),
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	msg, err := h.codec.Mail(e)
	msg.Partition, _ = band.Of(topic.Bands)
	h.dispatch().produce(msg, err)
	return s
}

// lose leaves a key pending whose mail reached nothing; no router runs then.
func (h *house) lose(key string) *routerv1.Submission {
	h.tb.Helper()
	s := h.bill(key)
	h.kafka.Stop()
	ctx, cancel := context.WithTimeout(h.tb.Context(), 5*time.Second)
	defer cancel()
	_, err := h.api.Submit(ctx, &routerv1.SubmitRequest{Submission: s})
	if f := fault.From(err); f == nil || f.Reason != faultv1.Reason_REASON_BROKER_UNAVAILABLE {
		h.tb.Fatalf("Submit(broker gone) = %v, want BROKER_UNAVAILABLE", err)
	}
	h.kafka.Start()
	h.await(true)
	h.stop()
	return s
}

// pending is a house whose router gives records up soon.
func pending(t *testing.T) *house {
	t.Helper()
	h := build(t)
	h.client = h.kafka.Client(func(c *broker.Config) { c.Partitions, c.ProduceTimeout = 1, 300*time.Millisecond })
	h.start()
	h.await(true)
	return h
}

// TestReplayFindsItsMail: a replay of a key that a crash left pending is
// answered by the mail that lies on the lane, hours later too; nothing is
// produced twice and the acceptance is told.
func TestReplayFindsItsMail(t *testing.T) {
	t.Parallel()
	h := pending(t)
	h.cfg.Idempotency.Sweep = time.Hour
	h.cfg.Idempotency.Landing = 30 * time.Second // the sweep at the start comes too early for it
	first := h.abandon("k", topic.Ordinary)
	h.start()
	h.await(true)
	h.pass(3 * time.Hour)
	again := h.bill("k") // rendered anew, under another id
	r := h.submit(again)
	if r.GetMailId() != first.GetMailId() || !r.GetReplayed() || !r.GetAcceptedAt().AsTime().Equal(h.clock().Add(-3*time.Hour)) {
		t.Errorf("Submit(replay) = %v, want the first mail's receipt", r)
	}
	ev := h.events().until(eventsv1.EventType_EVENT_TYPE_ACCEPTED)
	if ev.GetMailId() != first.GetMailId() || ev.GetFacts().GetInvoiceId() != "INV-1" || ev.GetTraceparent() == "" {
		t.Errorf("event = %v, want ACCEPTED of the first mail with its facts and trace", ev)
	}
	other := h.submit(h.bill("other"))
	lane := h.lane("billing")
	if a, b := lane.mail().GetMailId(), lane.mail().GetMailId(); a != first.GetMailId() || b != other.GetMailId() {
		t.Errorf("lane has %s, %s, want the first once and then the other", a, b)
	}
}

// TestSweepSettlesPending: nobody asks again, and the mail's acceptance is told
// all the same.
func TestSweepSettlesPending(t *testing.T) {
	t.Parallel()
	h := pending(t)
	h.cfg.Idempotency.Sweep = 20 * time.Millisecond
	first := h.abandon("k", topic.Ordinary)
	h.pass(time.Hour)
	h.start()
	h.await(true)
	if ev := h.events().until(eventsv1.EventType_EVENT_TYPE_ACCEPTED); ev.GetMailId() != first.GetMailId() {
		t.Errorf("event = %v, want ACCEPTED of the first mail", ev)
	}
	if r := h.submit(h.bill("k")); r.GetMailId() != first.GetMailId() || !r.GetReplayed() {
		t.Errorf("Submit(replay) = %v, want the first mail's receipt", r)
	}
}
