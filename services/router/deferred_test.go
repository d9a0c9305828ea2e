package router_test

import (
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// dispatch plays the dispatcher: it puts records onto the broker.
type dispatch struct {
	h        *house
	producer *broker.Producer
}

func (h *house) dispatch() *dispatch {
	return &dispatch{h: h, producer: h.kafka.Producer(h.client)}
}

func (d *dispatch) produce(m broker.Message, err error) {
	d.h.tb.Helper()
	if err == nil {
		_, err = d.producer.Produce(d.h.tb.Context(), m)
	}
	if err != nil {
		d.h.tb.Fatalf("producing = %v", err)
	}
}

// deferral is a bill that was tried once and is due in ten minutes.
func (h *house) deferral() *eventsv1.Deferral {
	s := h.bill("")
	return &eventsv1.Deferral{
		Envelope: &eventsv1.MailEnvelope{
			MailId: s.GetMailId(), Tenant: s.GetTenant(), Lane: "billing", Attempt: 2, Recipient: s.GetRecipient(),
			ReturnDomain: s.GetReturnDomain(), AcceptedAt: timestamppb.New(h.clock()), ExpiresAt: timestamppb.New(h.clock().Add(time.Hour)),
			Facts: s.GetFacts(), Content: &eventsv1.MailEnvelope_Message{Message: s.GetMessage()},
			Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Tries: 1,
		},
		DueAt: timestamppb.New(h.clock().Add(10 * time.Minute)), Reason: "greylisted", Site: "example.net",
	}
}

// list waits until n mails wait and gives them.
func (h *house) list(n int) []*routerv1.WaitingMail {
	h.tb.Helper()
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		resp, err := h.api.ListWaiting(h.tb.Context(), &routerv1.ListWaitingRequest{Scope: &routerv1.Scope{Tenant: "acme"}})
		if err != nil {
			h.tb.Fatalf("ListWaiting() = %v", err)
		}
		if len(resp.GetMails()) == n {
			tick.Stop()
			return resp.GetMails()
		}
		<-tick.C
	}
}

// TestDeferredIsReleased: a deferral read twice is one waiting mail, goes back
// onto its lane when due, with its attempt and in its trace, and does not come
// back when the deferral is read once more.
func TestDeferredIsReleased(t *testing.T) {
	t.Parallel()
	h := setup(t)
	d := h.dispatch()
	first := h.deferral()
	d.produce(h.codec.Deferral(first))
	d.produce(h.codec.Deferral(first))
	m := h.list(1)[0]
	if m.GetState() != mailv1.State_STATE_DEFERRED || m.GetAttempts() != 1 || m.GetReason() != "greylisted" {
		t.Errorf("ListWaiting() = %v, want the mail deferred after one attempt", m)
	}
	h.pass(10 * time.Minute)
	lane := h.lane("billing")
	e := lane.mail()
	if e.GetMailId() != first.GetEnvelope().GetMailId() || e.GetAttempt() != 2 || e.GetTries() != 1 {
		t.Errorf("lane record = %v, want the mail with attempt 2", e)
	}
	if got := e.GetTraceparent(); len(got) < 36 || got[:36] != first.GetEnvelope().GetTraceparent()[:36] {
		t.Errorf("traceparent = %q, want one of the trace %q", got, first.GetEnvelope().GetTraceparent())
	}
	if ev := h.events().until(eventsv1.EventType_EVENT_TYPE_RELEASED); ev.GetAttempt() != 2 {
		t.Errorf("event = %v, want RELEASED of attempt 2", ev)
	}
	h.list(0)

	// Read once more, then another mail: only the other one waits.
	d.produce(h.codec.Deferral(first))
	second := h.deferral()
	d.produce(h.codec.Deferral(second))
	if m := h.list(1)[0]; m.GetMailId() != second.GetEnvelope().GetMailId() {
		t.Errorf("ListWaiting() = %v, want the second mail alone", m)
	}
	h.pass(10 * time.Minute)
	if e := lane.mail(); e.GetMailId() != second.GetEnvelope().GetMailId() {
		t.Errorf("lane record = %s, want the second mail", e.GetMailId())
	}
}

// TestInDoubtIsHeld: a mail that waits for a decision waits until somebody
// decides.
func TestInDoubtIsHeld(t *testing.T) {
	t.Parallel()
	h := setup(t)
	held := h.deferral()
	held.Held = true
	h.dispatch().produce(h.codec.Deferral(held))
	if m := h.list(1)[0]; m.GetState() != mailv1.State_STATE_HELD {
		t.Errorf("ListWaiting() = %v, want it held", m)
	}
	h.pass(30 * time.Minute)
	scope := &routerv1.Scope{Tenant: "acme", Site: "example.net"}
	if resp, err := h.api.Release(t.Context(), &routerv1.ReleaseRequest{Scope: scope}); err != nil || resp.GetReleased() != 1 {
		t.Fatalf("Release() = %v, %v, want 1", resp, err)
	}
	if e := h.lane("billing").mail(); e.GetMailId() != held.GetEnvelope().GetMailId() {
		t.Errorf("lane record = %v, want the mail", e)
	}
}

// TestPoisonGoesAside: a record that does not decode goes to the dead topic and
// stops nobody.
func TestPoisonGoesAside(t *testing.T) {
	t.Parallel()
	h := setup(t)
	d := h.dispatch()
	topics := h.client.Topics()
	d.produce(broker.Message{Topic: topics.Deferred("billing"), Partition: -1, Key: []byte("who"), Value: []byte("not sealed")}, nil)
	good := h.deferral()
	d.produce(h.codec.Deferral(good))
	if m := h.list(1)[0]; m.GetMailId() != good.GetEnvelope().GetMailId() {
		t.Errorf("ListWaiting() = %v, want the good mail", m)
	}
	dead := h.tape(topics.Dead())
	r := dead.next()
	if string(r.Value) == "not sealed" || string(r.Key) != "who" {
		t.Errorf("dead record %s = %q, want it sealed", r.Key, r.Value)
	}
}

// TestDeferredSurvivesRestart: what waits is still there after a restart, and
// what was cancelled before it comes to its end.
func TestDeferredSurvivesRestart(t *testing.T) {
	t.Parallel()
	h := setup(t)
	a, b := h.deferral(), h.deferral()
	d := h.dispatch()
	d.produce(h.codec.Deferral(a))
	d.produce(h.codec.Deferral(b))
	h.list(2)
	h.kafka.Stop() // the end of a cannot be told yet
	scope := &routerv1.Scope{MailIds: []string{a.GetEnvelope().GetMailId()}}
	if resp, err := h.api.Cancel(t.Context(), &routerv1.CancelRequest{Scope: scope, Reason: "by hand"}); err != nil || resp.GetCancelled() != 1 {
		t.Fatalf("Cancel() = %v, %v, want 1", resp, err)
	}
	h.kafka.Start()
	h.stop()
	h.pass(10 * time.Minute)
	h.start()
	h.await(true)
	if ev := h.events().until(eventsv1.EventType_EVENT_TYPE_CANCELLED); ev.GetMailId() != a.GetEnvelope().GetMailId() || ev.GetAttempt() != 1 {
		t.Errorf("event = %v, want CANCELLED of the first mail in its first attempt", ev)
	}
	if e := h.lane("billing").mail(); e.GetMailId() != b.GetEnvelope().GetMailId() {
		t.Errorf("lane record = %v, want the second mail", e)
	}
}

// TestDeferredOfOtherTopics: what lies on the topic that lanes once shared, or
// on that of a lane that is not configured any more, comes in as well.
func TestDeferredOfOtherTopics(t *testing.T) {
	t.Parallel()
	h := build(t)
	topics := h.client.Topics()
	want := map[string]string{topics.SharedDeferred(): "billing", topics.Deferred("gone"): "gone"}
	d := h.dispatch()
	lanes := map[string]string{} // by mail
	for topic, lane := range want {
		if _, err := h.client.Kafka().CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
			Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}},
		}); err != nil {
			t.Fatalf("CreateTopics() = %v", err)
		}
		mail := h.deferral()
		mail.Envelope.Lane = lane
		lanes[mail.GetEnvelope().GetMailId()] = lane
		m, err := h.codec.Deferral(mail)
		m.Topic = topic
		d.produce(m, err)
	}
	h.start()
	h.await(true)
	for _, m := range h.list(2) {
		if lanes[m.GetMailId()] != m.GetLane() {
			t.Errorf("ListWaiting() = %v, want it of lane %s", m, lanes[m.GetMailId()])
		}
	}
	for topic, group := range map[string]string{topics.SharedDeferred(): h.cfg.Groups.Deferred, topics.Deferred("gone"): h.cfg.Groups.Deferred + ".gone"} {
		brokertest.Eventually(t, func() bool {
			lag, err := h.client.Lag(t.Context(), group, topic)
			return err == nil && lag[topic].Done == 1
		})
	}
}
