package router_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/types/known/durationpb"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/dbtest"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// refused checks that err is a fault of the kind and reason.
func refused(t *testing.T, what string, err error, kind fault.Kind, reason faultv1.Reason) {
	t.Helper()
	if f := fault.From(err); f == nil || f.Kind != kind || f.Reason != reason {
		t.Fatalf("%s = %v, want %v %v", what, err, kind, reason)
	}
}

func TestSubmitReachesLane(t *testing.T) {
	t.Parallel()
	h := setup(t)
	s := h.bill("k")
	r := h.submit(s)
	if r.GetMailId() != s.GetMailId() || r.GetLane() != "billing" || r.GetState() != mailv1.State_STATE_QUEUED || r.GetReplayed() {
		t.Errorf("Submit() = %v, want the mail queued on billing", r)
	}
	e := h.lane("billing").mail()
	if e.GetMailId() != s.GetMailId() || e.GetAttempt() != 1 || e.GetTraceparent() == "" || !bytes.Equal(e.GetMessage(), s.GetMessage()) {
		t.Errorf("lane record = %v, want the mail with attempt 1 and a trace", e)
	}
	if !e.GetExpiresAt().AsTime().Equal(r.GetExpiresAt().AsTime()) {
		t.Errorf("expires_at = %v, want that of the receipt %v", e.GetExpiresAt().AsTime(), r.GetExpiresAt().AsTime())
	}
	ev := h.events().until(eventsv1.EventType_EVENT_TYPE_ACCEPTED)
	if ev.GetMailId() != s.GetMailId() || ev.GetFacts().GetInvoiceId() != "INV-1" || ev.GetAttempt() != 0 {
		t.Errorf("event = %v, want ACCEPTED of the mail with its facts", ev)
	}
	if replay := h.submit(h.bill("k")); replay.GetMailId() != s.GetMailId() || !replay.GetReplayed() {
		t.Errorf("Submit(replay) = %v, want the first receipt", replay)
	}
}

// TestPostgres: over PostgreSQL, with fingerprints as composers send them, mail
// goes out, waits, and is replayed by the next router.
func TestPostgres(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.cfg.Store.URL = dbtest.Postgres(t)
	h.start()
	h.await(true)
	hash := sha256.Sum256([]byte("a request"))
	now, later := h.bill("now"), h.later("later")
	now.Fingerprint, later.Fingerprint = hash[:], hash[:]
	first, scheduled := h.submit(now), h.submit(later)
	if id := h.lane("billing").mail().GetMailId(); id != first.GetMailId() {
		t.Errorf("lane record = %s, want %s", id, first.GetMailId())
	}
	h.list(1)
	h.stop()
	h.start()
	h.await(true)
	for _, c := range []struct {
		again *routerv1.Submission
		want  *mailv1.Receipt
	}{{now, first}, {later, scheduled}} {
		if r := h.submit(c.again); r.GetMailId() != c.want.GetMailId() || !r.GetReplayed() {
			t.Errorf("Submit(replay) = %v, want the receipt %v", r, c.want)
		}
	}
}

// TestReplaysConcurrent: a hundred at once under one key put one record onto
// the lane.
func TestReplaysConcurrent(t *testing.T) {
	t.Parallel()
	h := setup(t)
	ids := make(chan string, 100)
	var callers sync.WaitGroup
	for range cap(ids) {
		callers.Go(func() {
			resp, err := h.api.Submit(t.Context(), &routerv1.SubmitRequest{Submission: h.bill("k")})
			if err != nil {
				t.Errorf("Submit() = %v", err)
			}
			ids <- resp.GetReceipt().GetMailId()
		})
	}
	callers.Wait()
	first := <-ids
	for range cap(ids) - 1 {
		if id := <-ids; id != first {
			t.Fatalf("Submit() gave mails %s and %s, want one", first, id)
		}
	}
	last := h.submit(h.bill("other"))
	lane := h.lane("billing")
	if a, b := lane.mail().GetMailId(), lane.mail().GetMailId(); a != first || b != last.GetMailId() {
		t.Errorf("lane has %s, %s, want %s once and then %s", a, b, first, last.GetMailId())
	}
}

func TestMismatchIsRefused(t *testing.T) {
	t.Parallel()
	h := setup(t)
	h.submit(h.bill("k"))
	other := h.bill("k")
	other.Fingerprint = []byte("another body")
	_, err := h.api.Submit(t.Context(), &routerv1.SubmitRequest{Submission: other})
	refused(t, "Submit(another body)", err, fault.Precondition, faultv1.Reason_REASON_IDEMPOTENCY_MISMATCH)
}

// TestBrokerGone: without a broker nothing is taken and the caller hears so in
// its time; what was begun is finished under the same mail id by the next
// router over the same store.
func TestBrokerGone(t *testing.T) {
	t.Parallel()
	h := build(t)
	// A record that the broker did not take in time is given up: it never lands.
	h.client = h.kafka.Client(func(c *broker.Config) { c.Partitions, c.ProduceTimeout = 1, 300*time.Millisecond })
	h.start()
	h.await(true)
	h.kafka.Stop()
	first := h.bill("k")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := h.api.Submit(ctx, &routerv1.SubmitRequest{Submission: first})
	refused(t, "Submit(broker gone)", err, fault.Unavailable, faultv1.Reason_REASON_BROKER_UNAVAILABLE)
	if f := fault.From(err); f.RetryAfter <= 0 {
		t.Errorf("RetryAfter = %v, want a time to come back", f.RetryAfter)
	}
	h.await(false)
	h.kafka.Start()
	h.await(true)
	h.stop()
	h.start()
	h.await(true)

	again := h.bill("k")
	_, err = h.api.Submit(t.Context(), &routerv1.SubmitRequest{Submission: again})
	refused(t, "Submit(after the crash)", err, fault.Conflict, faultv1.Reason_REASON_IDEMPOTENCY_PENDING)
	if f := fault.From(err); f.Meta["mail_id"] != first.GetMailId() {
		t.Fatalf("Meta = %v, want the first mail's id %s", f.Meta, first.GetMailId())
	}
	again.MailId = first.GetMailId()
	h.pass(time.Minute)
	r := h.submit(again)
	if !r.GetAcceptedAt().AsTime().Equal(h.clock().Add(-time.Minute)) {
		t.Errorf("accepted_at = %v, want that of the first submission", r.GetAcceptedAt().AsTime())
	}
	if e := h.lane("billing").mail(); e.GetMailId() != first.GetMailId() || e.GetAttempt() != 1 {
		t.Errorf("lane record = %s attempt %d, want the first mail's id", e.GetMailId(), e.GetAttempt())
	}
}

// TestStartsWithoutBroker: a broker that is away at start is waited for.
func TestStartsWithoutBroker(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.kafka.Stop()
	h.start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := h.api.Submit(ctx, &routerv1.SubmitRequest{Submission: h.bill("")})
	refused(t, "Submit(no broker yet)", err, fault.Unavailable, faultv1.Reason_REASON_BROKER_UNAVAILABLE)
	if ok, _ := h.ready.OK(); ok {
		t.Error("ready without a broker")
	}
	h.kafka.Start()
	h.await(true)
	h.submit(h.bill(""))
}

func TestScheduledIsReleased(t *testing.T) {
	t.Parallel()
	h := setup(t)
	s := h.later("k")
	r := h.submit(s)
	if r.GetState() != mailv1.State_STATE_SCHEDULED || !r.GetSendAt().AsTime().Equal(s.GetSendAt().AsTime()) {
		t.Fatalf("Submit() = %v, want it scheduled", r)
	}
	list, err := h.api.ListWaiting(t.Context(), &routerv1.ListWaitingRequest{})
	if err != nil || len(list.GetMails()) != 1 || list.GetMails()[0].GetState() != mailv1.State_STATE_SCHEDULED || list.GetMails()[0].GetDomain() != "example.com" {
		t.Errorf("ListWaiting() = %v, %v, want the mail scheduled", list, err)
	}
	if replay := h.submit(s); !replay.GetReplayed() || replay.GetState() != mailv1.State_STATE_SCHEDULED {
		t.Errorf("Submit(replay) = %v, want the first receipt", replay)
	}
	now := h.submit(h.bill(""))
	h.pass(time.Hour)
	lane := h.lane("billing")
	if e := lane.mail(); e.GetMailId() != now.GetMailId() {
		t.Errorf("first lane record = %s, want the mail that did not wait", e.GetMailId())
	}
	e := lane.mail()
	if e.GetMailId() != s.GetMailId() || e.GetAttempt() != 1 || !bytes.Equal(e.GetMessage(), s.GetMessage()) {
		t.Errorf("lane record = %v, want the scheduled mail", e)
	}
	events := h.events()
	events.until(eventsv1.EventType_EVENT_TYPE_SCHEDULED)
	if ev := events.until(eventsv1.EventType_EVENT_TYPE_RELEASED); ev.GetMailId() != s.GetMailId() || ev.GetAttempt() != 1 {
		t.Errorf("event = %v, want RELEASED of the mail", ev)
	}
	_, err = h.api.Cancel(t.Context(), &routerv1.CancelRequest{Scope: &routerv1.Scope{MailIds: []string{s.GetMailId()}}})
	refused(t, "Cancel(gone to its lane)", err, fault.Precondition, faultv1.Reason_REASON_MAIL_SETTLED)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	h := setup(t)
	s := h.later("k")
	h.submit(s)
	scope := &routerv1.Scope{Tenant: "acme", InvoiceId: "INV-1"}
	resp, err := h.api.Cancel(t.Context(), &routerv1.CancelRequest{Scope: scope, Reason: "paid"})
	if err != nil || resp.GetCancelled() != 1 {
		t.Fatalf("Cancel() = %v, %v, want 1", resp, err)
	}
	ev := h.events().until(eventsv1.EventType_EVENT_TYPE_CANCELLED)
	if ev.GetMailId() != s.GetMailId() || ev.GetNote().GetReason() != "paid" || ev.GetAttempt() != 0 {
		t.Errorf("event = %v, want CANCELLED of the mail and why", ev)
	}
	if resp, err := h.api.Cancel(t.Context(), &routerv1.CancelRequest{Scope: scope}); err != nil || resp.GetCancelled() != 0 {
		t.Errorf("Cancel() again = %v, %v, want 0", resp, err)
	}
	for id, want := range map[string]faultv1.Reason{
		s.GetMailId(): faultv1.Reason_REASON_MAIL_SETTLED, "unheard of": faultv1.Reason_REASON_MAIL_UNKNOWN,
	} {
		_, err := h.api.Cancel(t.Context(), &routerv1.CancelRequest{Scope: &routerv1.Scope{MailIds: []string{id}}})
		if f := fault.From(err); f == nil || f.Reason != want {
			t.Errorf("Cancel(%s) = %v, want %v", id, err, want)
		}
	}
	_, err = h.api.Cancel(t.Context(), &routerv1.CancelRequest{Scope: &routerv1.Scope{Tenant: "acme"}})
	refused(t, "Cancel(all of a tenant)", err, fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD)
}

func TestHoldAndRelease(t *testing.T) {
	t.Parallel()
	h := setup(t)
	held, free := h.later("held"), h.later("free")
	h.submit(held)
	h.submit(free)
	one := &routerv1.Scope{MailIds: []string{held.GetMailId()}}
	if resp, err := h.api.Hold(t.Context(), &routerv1.HoldRequest{Scope: one, Reason: "looks odd"}); err != nil || resp.GetHeld() != 1 {
		t.Fatalf("Hold() = %v, %v, want 1", resp, err)
	}
	h.pass(time.Hour)
	lane := h.lane("billing")
	if e := lane.mail(); e.GetMailId() != free.GetMailId() {
		t.Fatalf("lane record = %s, want the mail that is not held", e.GetMailId())
	}
	list, err := h.api.ListWaiting(t.Context(), &routerv1.ListWaitingRequest{Scope: &routerv1.Scope{Tenant: "acme"}})
	if err != nil || len(list.GetMails()) != 1 || list.GetMails()[0].GetState() != mailv1.State_STATE_HELD || list.GetMails()[0].GetReason() != "looks odd" {
		t.Errorf("ListWaiting() = %v, %v, want the mail held", list, err)
	}
	if resp, err := h.api.Release(t.Context(), &routerv1.ReleaseRequest{Scope: one}); err != nil || resp.GetReleased() != 1 {
		t.Fatalf("Release() = %v, %v, want 1", resp, err)
	}
	if e := lane.mail(); e.GetMailId() != held.GetMailId() {
		t.Errorf("lane record = %s, want the mail that was held", e.GetMailId())
	}
}

func TestHeldMailExpires(t *testing.T) {
	t.Parallel()
	h := setup(t)
	s := h.later("")
	s.ExpiresIn = durationpb.New(time.Hour)
	h.submit(s)
	one := &routerv1.Scope{MailIds: []string{s.GetMailId()}}
	if _, err := h.api.Hold(t.Context(), &routerv1.HoldRequest{Scope: one}); err != nil {
		t.Fatalf("Hold() = %v", err)
	}
	h.pass(2 * time.Hour)
	ev := h.events().until(eventsv1.EventType_EVENT_TYPE_EXPIRED)
	if ev.GetMailId() != s.GetMailId() || ev.GetAttemptDetail().GetCategory() != eventsv1.Category_CATEGORY_EXPIRED {
		t.Errorf("event = %v, want EXPIRED of the mail", ev)
	}
}

func TestSuppression(t *testing.T) {
	t.Parallel()
	h := setup(t)
	s := h.later("k")
	h.submit(s)
	add := &routerv1.AddSuppressionRequest{Suppression: &routerv1.Suppression{
		Tenant: "acme", Address: "Budi@EXAMPLE.com", Cause: routerv1.SuppressionCause_SUPPRESSION_CAUSE_HARD_BOUNCE,
	}}
	if _, err := h.api.AddSuppression(t.Context(), add); err != nil {
		t.Fatalf("AddSuppression() = %v", err)
	}
	_, err := h.api.Submit(t.Context(), &routerv1.SubmitRequest{Submission: h.bill("new")})
	refused(t, "Submit(suppressed)", err, fault.Precondition, faultv1.Reason_REASON_RECIPIENT_SUPPRESSED)
	h.pass(time.Hour)
	if ev := h.events().until(eventsv1.EventType_EVENT_TYPE_SUPPRESSED); ev.GetMailId() != s.GetMailId() {
		t.Errorf("event = %v, want SUPPRESSED of the scheduled mail", ev)
	}
	list, err := h.api.ListSuppressions(t.Context(), &routerv1.ListSuppressionsRequest{Tenant: "acme"})
	if err != nil || len(list.GetSuppressions()) != 1 || list.GetSuppressions()[0].GetAddress() != "budi@example.com" {
		t.Errorf("ListSuppressions() = %v, %v, want the address", list, err)
	}
	remove := &routerv1.RemoveSuppressionRequest{Tenant: "acme", Address: "budi@example.com"}
	if _, err := h.api.RemoveSuppression(t.Context(), remove); err != nil {
		t.Errorf("RemoveSuppression() = %v", err)
	}
	_, err = h.api.RemoveSuppression(t.Context(), remove)
	refused(t, "RemoveSuppression() again", err, fault.NotFound, faultv1.Reason_REASON_SUPPRESSION_UNKNOWN)
	h.submit(h.bill("new"))
}

func TestSubmitStream(t *testing.T) {
	t.Parallel()
	h := setup(t)
	stream, err := h.api.SubmitStream(t.Context())
	if err != nil {
		t.Fatalf("SubmitStream() = %v", err)
	}
	const n = 500
	var sender sync.WaitGroup
	sender.Go(func() {
		for i := range n {
			s := h.bill("")
			if i%10 == 0 {
				s.Lane = "otp" // above a bill's own
			}
			if err := stream.Send(&routerv1.SubmitStreamRequest{Reference: s.GetLane() + "/" + s.GetMailId(), Submission: s}); err != nil {
				t.Errorf("Send() = %v", err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Errorf("CloseSend() = %v", err)
		}
	})
	taken, failed := 0, 0
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("Recv() = %v", err)
		}
		switch res := resp.GetResult().(type) {
		case *routerv1.SubmitStreamResponse_Receipt:
			if want := "/" + res.Receipt.GetMailId(); resp.GetReference() != want {
				t.Errorf("reference = %q, want %q", resp.GetReference(), want)
			}
			taken++
		case *routerv1.SubmitStreamResponse_Error:
			if len(res.Error.GetDetails()) == 0 {
				t.Errorf("error = %v, want details", res.Error)
			}
			failed++
		}
	}
	sender.Wait()
	if taken != n-n/10 || failed != n/10 {
		t.Errorf("SubmitStream() took %d and refused %d, want %d and %d", taken, failed, n-n/10, n/10)
	}
}

func TestListLanes(t *testing.T) {
	t.Parallel()
	h := setup(t)
	h.submit(h.bill(""))
	h.submit(h.later(""))
	resp, err := h.api.ListLanes(t.Context(), &routerv1.ListLanesRequest{})
	if err != nil || len(resp.GetLanes()) != 4 {
		t.Fatalf("ListLanes() = %v, %v, want four", resp, err)
	}
	if b := resp.GetLanes()[1]; b.GetName() != "billing" || b.GetDepth() != 1 || b.GetWaiting() != 1 {
		t.Errorf("ListLanes()[1] = %v, want billing with one record and one waiting", b)
	}
}

// TestStopEndsStreams: an open stream does not keep a router from stopping.
func TestStopEndsStreams(t *testing.T) {
	t.Parallel()
	h := setup(t)
	stream, err := h.api.SubmitStream(t.Context())
	if err != nil {
		t.Fatalf("SubmitStream() = %v", err)
	}
	if err := stream.Send(&routerv1.SubmitStreamRequest{Submission: h.bill("")}); err != nil {
		t.Fatalf("Send() = %v", err)
	}
	if resp, err := stream.Recv(); err != nil || resp.GetReceipt() == nil {
		t.Fatalf("Recv() = %v, %v, want a receipt", resp, err)
	}
	h.stop()
	_, err = stream.Recv()
	refused(t, "Recv(stopping)", err, fault.Unavailable, faultv1.Reason_REASON_NOT_READY)
}

// TestOneTrace: the mail's trace is the caller's, by way of the publication.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	h := build(t)
	spans := tracetest.NewInMemoryExporter()
	tel, err := telemetry.New(t.Context(), "router", "test", telemetry.Default(),
		telemetry.WithWriter(io.Discard), telemetry.WithSpanProcessor(sdktrace.NewSimpleSpanProcessor(spans)))
	if err != nil {
		t.Fatalf("telemetry.New() = %v", err)
	}
	h.tel = tel
	h.start()
	h.await(true)
	ctx, span := tel.Tracer("test").Start(t.Context(), "caller")
	if _, err := h.api.Submit(ctx, &routerv1.SubmitRequest{Submission: h.bill("")}); err != nil {
		t.Fatalf("Submit() = %v", err)
	}
	span.End()
	got := h.lane("billing").mail().GetTraceparent()
	for _, s := range spans.GetSpans() {
		if s.Name != "publish kurir.lane.billing" {
			continue
		}
		if want := "00-" + span.SpanContext().TraceID().String() + "-" + s.SpanContext.SpanID().String() + "-01"; got != want {
			t.Errorf("traceparent = %q, want %q", got, want)
		}
		return
	}
	t.Error("no span of the publication")
}

// TestStop: a router that stops finishes what it has and refuses the rest.
func TestStop(t *testing.T) {
	t.Parallel()
	h := setup(t)
	var callers sync.WaitGroup
	taken := make(chan string, 200)
	for range cap(taken) {
		callers.Go(func() {
			resp, err := h.api.Submit(t.Context(), &routerv1.SubmitRequest{Submission: h.bill("")})
			switch {
			case err == nil:
				taken <- resp.GetReceipt().GetMailId()
			case !errors.Is(err, fault.Unavailable):
				t.Errorf("Submit(stopping) = %v, want custody or Unavailable", err)
			}
		})
	}
	first := <-taken
	h.stop()
	callers.Wait()
	close(taken)
	want := map[string]bool{first: true}
	for id := range taken {
		want[id] = true
	}
	lane := h.lane("billing")
	for len(want) > 0 {
		delete(want, lane.mail().GetMailId())
	}
}
