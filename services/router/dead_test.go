package router_test

import (
	"bytes"
	"testing"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// grave waits for the n-th dead record.
func (h *house) grave(n int) *routerv1.DeadRecord {
	h.tb.Helper()
	tape := h.tape(h.client.Topics().Dead())
	for range n {
		tape.next()
	}
	list, err := h.api.ListDead(h.tb.Context(), &routerv1.ListDeadRequest{})
	if err != nil || len(list.GetRecords()) != n {
		h.tb.Fatalf("ListDead() = %v, %v, want %d", list, err, n)
	}
	return list.GetRecords()[n-1]
}

// TestDeadIsReplayed: a record sealed under a key we lack is shown, put back
// with its own bytes once, and when it is still poison it dies again, named
// after the first, and stays there.
func TestDeadIsReplayed(t *testing.T) {
	t.Parallel()
	h := setup(t)
	foreign, err := seal.Generate()
	if err != nil {
		t.Fatalf("Generate() = %v", err)
	}
	poison, err := record.NewCodec(foreign, h.client.Topics()).Deferral(h.deferral())
	h.dispatch().produce(poison, err)
	first := h.grave(1)
	topics := h.client.Topics()
	if first.GetTopic() != topics.Deferred("billing") || first.GetMailId() != string(poison.Key) || first.GetReason() == "" ||
		first.GetHeaders()[record.HeaderLane] != "billing" || first.GetReplayedAt() != nil || first.GetReplayOf() != "" {
		t.Errorf("ListDead() = %v, want where it came from, whose it is and why", first)
	}
	shown, err := h.api.GetDead(t.Context(), &routerv1.GetDeadRequest{Id: first.GetId()})
	if err != nil || shown.GetOpens() || shown.GetProblem() == "" {
		t.Errorf("GetDead() = %v, %v, want that it does not open", shown, err)
	}
	put, err := h.api.ReplayDead(t.Context(), &routerv1.ReplayDeadRequest{Id: first.GetId()})
	if err != nil || put.GetTopic() != topics.Deferred("billing") {
		t.Fatalf("ReplayDead() = %v, %v, want it back where it came from", put, err)
	}
	back := h.tape(topics.Deferred("billing"))
	back.next()
	if r := back.next(); !bytes.Equal(r.Value, poison.Value) || !bytes.Equal(r.Key, poison.Key) || r.Offset != put.GetOffset() {
		t.Errorf("replayed record differs from the first")
	}
	second := h.grave(2)
	if second.GetReplayOf() != first.GetId() {
		t.Errorf("ListDead() = %v, want it named after %s", second, first.GetId())
	}
	_, err = h.api.ReplayDead(t.Context(), &routerv1.ReplayDeadRequest{Id: first.GetId()})
	refused(t, "ReplayDead(again)", err, fault.Precondition, faultv1.Reason_REASON_DEAD_NOT_REPLAYABLE)
	if list, err := h.api.ListDead(t.Context(), &routerv1.ListDeadRequest{}); err != nil || list.GetRecords()[0].GetReplayedAt() == nil {
		t.Errorf("ListDead() = %v, %v, want the first marked as replayed", list, err)
	}
	for id, want := range map[string]faultv1.Reason{
		"0-99": faultv1.Reason_REASON_DEAD_UNKNOWN, "9-0": faultv1.Reason_REASON_DEAD_UNKNOWN, "here": faultv1.Reason_REASON_INVALID_FIELD,
	} {
		_, err := h.api.ReplayDead(t.Context(), &routerv1.ReplayDeadRequest{Id: id})
		if f := fault.From(err); f == nil || f.Reason != want {
			t.Errorf("ReplayDead(%s) = %v, want %v", id, err, want)
		}
	}
}

// TestReplayCures: once the key is there, the replay brings the mail home.
func TestReplayCures(t *testing.T) {
	t.Parallel()
	h := setup(t)
	good := h.deferral()
	msg, err := h.codec.Deferral(good)
	if err != nil {
		t.Fatalf("Deferral() = %v", err)
	}
	// As if it had died under an older keyring.
	tape := h.tape(h.client.Topics().Deferred("billing"))
	d := h.dispatch()
	d.produce(broker.Message{Topic: msg.Topic, Partition: 0, Key: []byte("x"), Value: []byte("junk")}, nil)
	place := tape.next()
	h.grave(1)
	place.Key, place.Value, place.Headers = msg.Key, msg.Value, msg.Headers
	d.produce(h.codec.Dead(place, "key was missing"))
	it := h.grave(2)
	if shown, err := h.api.GetDead(t.Context(), &routerv1.GetDeadRequest{Id: it.GetId()}); err != nil || !shown.GetOpens() {
		t.Errorf("GetDead() = %v, %v, want that it opens", shown, err)
	}
	if _, err := h.api.ReplayDead(t.Context(), &routerv1.ReplayDeadRequest{Id: it.GetId()}); err != nil {
		t.Fatalf("ReplayDead() = %v", err)
	}
	if m := h.list(1)[0]; m.GetMailId() != good.GetEnvelope().GetMailId() {
		t.Errorf("ListWaiting() = %v, want the mail", m)
	}
}
