package router_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody/mark"
	"kurir.dev/kit/topic"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// flood submits n bills of a tenant.
func (h *house) flood(tenant string, n int) {
	h.tb.Helper()
	for range n {
		s := h.bill("")
		s.Tenant = tenant
		h.submit(s)
	}
}

// lies is how many records lie in each band of the billing lane.
func (h *house) lies() (ordinary, overflow int64) {
	h.tb.Helper()
	ends, err := h.client.Ends(h.tb.Context(), h.client.Topics().Lane("billing"), topic.Bands)
	if err != nil {
		h.tb.Fatalf("Ends() = %v", err)
	}
	return ends[0].Last, ends[1].Last
}

// lie checks that.
func (h *house) lie(what string, ordinary, overflow int64) {
	h.tb.Helper()
	if a, b := h.lies(); a != ordinary || b != overflow {
		h.tb.Fatalf("%s: %d records lie in the ordinary band and %d in the overflow band, want %d and %d", what, a, b, ordinary, overflow)
	}
}

// TestOverflow: what a tenant has beyond the number lies aside, nobody else's
// mail does, and once the dispatchers have done enough the tenant is as the
// others again.
func TestOverflow(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.cfg.Overflow.After = 20
	h.start()
	h.await(true)
	h.flood("big", 120)
	h.flood("small", 10)
	h.lie("after the flood", 30, 100)
	ordinary, aside := h.lane("billing"), h.aside("billing")
	for i := range 30 {
		want := "big"
		if i >= 20 {
			want = "small"
		}
		if e := ordinary.mail(); e.GetTenant() != want {
			t.Fatalf("record %d of the ordinary band is of %s, want %s", i, e.GetTenant(), want)
		}
	}
	for i := range 100 {
		if e := aside.mail(); e.GetTenant() != "big" {
			t.Fatalf("record %d of the overflow band is of %s, want big", i, e.GetTenant())
		}
	}
	// All but the first are done.
	done := mark.Mark{Low: 0, Done: []mark.Span{{Start: 1, End: 30}}, Limit: 30, Tried: 30}
	brokertest.Commit(t, h.client, "kurir.dispatcher.billing", h.client.Topics().Lane("billing"), 0, done.Low, done.Encode())
	at := int64(30)
	brokertest.Eventually(t, func() bool {
		h.flood("big", 1)
		at, _ = h.lies()
		return at == 31
	})
	_, over := h.lies()
	h.flood("big", 20)
	h.lie("after the commit", 49, over+2)
}

// TestOverflowNever: with 0 all mail is ordinary.
func TestOverflowNever(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.cfg.Overflow.After = 0
	h.start()
	h.await(true)
	h.flood("big", 600)
	h.lie("after the flood", 600, 0)
}

// TestOverflowReleased: mail that waited goes aside too when its tenant is
// crowded.
func TestOverflowReleased(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.cfg.Overflow.After = 1
	h.start()
	h.await(true)
	scheduled, deferred := h.later("k"), h.deferral()
	small := h.later("l")
	small.Tenant = "small"
	h.submit(scheduled)
	h.submit(small)
	h.dispatch().produce(h.codec.Deferral(deferred))
	h.list(2)
	h.flood("acme", 1)
	h.lie("before they are due", 1, 0)
	aside, ordinary := h.aside("billing"), h.lane("billing")
	h.pass(10 * time.Minute)
	if e := aside.mail(); e.GetMailId() != deferred.GetEnvelope().GetMailId() || e.GetAttempt() != 2 {
		t.Errorf("overflow band has %s attempt %d, want the deferred mail with attempt 2", e.GetMailId(), e.GetAttempt())
	}
	h.pass(50 * time.Minute)
	if e := aside.mail(); e.GetMailId() != scheduled.GetMailId() {
		t.Errorf("overflow band has %s, want the scheduled mail", e.GetMailId())
	}
	ordinary.mail()
	if e := ordinary.mail(); e.GetMailId() != small.GetMailId() {
		t.Errorf("ordinary band has %s, want the mail of who is not crowded", e.GetMailId())
	}
	h.lie("after they were due", 2, 2)
}

// TestOverflowReplay: a mail of a crowded tenant that may or may not have
// reached its lane is looked for and put again where it was tried first, though
// nobody is crowded any more.
func TestOverflowReplay(t *testing.T) {
	t.Parallel()
	for name, lies := range map[string]bool{"lost": false, "landed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := pending(t)
			h.stop()
			h.cfg.Overflow.After = 1
			h.cfg.Idempotency.Sweep = time.Hour
			h.start()
			h.await(true)
			h.flood("acme", 1)
			var first *routerv1.Submission
			if lies {
				first = h.abandon("k", topic.Overflow)
			} else {
				first = h.lose("k")
			}
			h.start() // which knows of nobody
			h.await(true)
			again := h.bill("k")
			again.MailId = first.GetMailId()
			if r := h.submit(again); r.GetMailId() != first.GetMailId() || r.GetReplayed() != lies {
				t.Errorf("Submit(again) = %v, want the first mail, found %v", r, lies)
			}
			if id := h.aside("billing").mail().GetMailId(); id != first.GetMailId() {
				t.Errorf("overflow band has %s, want the first mail", id)
			}
			h.lie("after the replay", 1, 1)
			h.flood("acme", 1)
			h.lie("another mail", 2, 1)
		})
	}
}

// TestOverflowUnplaced: a mail of a key from before there were bands is found
// wherever it lies.
func TestOverflowUnplaced(t *testing.T) {
	t.Parallel()
	h := pending(t)
	h.cfg.Idempotency.Sweep = time.Hour
	first := h.abandon("k", topic.Overflow)
	h.unplace()
	h.start()
	h.await(true)
	if r := h.submit(h.bill("k")); r.GetMailId() != first.GetMailId() || !r.GetReplayed() {
		t.Errorf("Submit(again) = %v, want the first mail found", r)
	}
	h.lie("after the replay", 0, 1)
}

// unplace makes all keys such as were entered before there were bands.
func (h *house) unplace() {
	h.tb.Helper()
	path, _ := strings.CutPrefix(h.cfg.Store.URL, "sqlite:")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		h.tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	res, err := db.ExecContext(h.tb.Context(), `UPDATE idempotency SET band = -1`)
	if err != nil {
		h.tb.Fatal(err)
	}
	if n, err := res.RowsAffected(); n == 0 || err != nil {
		h.tb.Fatal(fmt.Errorf("%d keys are without a place: %w", n, err))
	}
}
