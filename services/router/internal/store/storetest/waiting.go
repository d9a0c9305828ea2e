package storetest

import (
	"slices"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
	"kurir.dev/services/router/internal/waiting"
)

func putIdempotent(x bundle) {
	t, s := x.t, x.store
	put(t, s, deferral("m1", 2, time.Hour), deferral("m1", 2, 2*time.Hour))
	counts(t, s, 1)
	put(t, s, deferral("m1", 1, 0))
	newer := deferral("m1", 3, 3*time.Hour)
	put(t, s, newer)
	mails, err := s.List(t.Context(), waiting.Scope{}, waiting.Cursor{}, 10)
	newer.Envelope = nil
	if diff := cmp.Diff([]waiting.Mail{newer}, mails); err != nil || diff != "" {
		t.Errorf("List() = %v (-want +got):\n%s", err, diff)
	}
	counts(t, s, 1)
}

func putDeparted(x bundle) {
	t, s := x.t, x.store
	put(t, s, deferral("m1", 2, 0))
	claim(t, s, noon())
	finish(t, s, waiting.Ref{ID: "m1", Attempt: 2})
	counts(t, s, 0)
	put(t, s, deferral("m1", 2, 0))
	if got := list(t, s, waiting.Scope{}); len(got) != 0 {
		t.Errorf("List() = %v, want none: it left with this attempt", got)
	}
	put(t, s, deferral("m1", 3, 0))
	if got := list(t, s, waiting.Scope{}); len(got) != 1 {
		t.Errorf("List() = %v, want the newer attempt", got)
	}
}

func claimOnce(x bundle) {
	t, s := x.t, x.store
	put(t, s, deferral("later", 2, time.Hour), deferral("now", 2, 0), deferral("before", 2, -time.Minute))
	want := []waiting.Mail{deferral("before", 2, -time.Minute), deferral("now", 2, 0)}
	for i := range want {
		want[i].State = waiting.Leaving
	}
	if diff := cmp.Diff(want, claim(t, s, noon())); diff != "" {
		t.Errorf("Claim() (-want +got):\n%s", diff)
	}
	if again := claim(t, s, noon()); len(again) != 0 {
		t.Errorf("Claim() again = %v, want none", again)
	}
	finish(t, s, waiting.Ref{ID: "before", Attempt: 2}, waiting.Ref{ID: "now", Attempt: 2})
	next, err := s.NextWake(t.Context(), "bulk")
	if err != nil || !next.Equal(noon().Add(time.Hour)) {
		t.Errorf("NextWake() = %v, %v, want %v", next, err, noon().Add(time.Hour))
	}
	put(t, s)
	counts(t, s, 1)
}

// claimLane: what a lane has due waits for no other, and the mail of lanes that
// are not configured any more is not forgotten.
func claimLane(x bundle) {
	t, s := x.t, x.store
	for i := range 40 {
		m := deferral(name(i), 2, -time.Hour)
		switch {
		case i < 20: // bulk, due first
		case i < 30:
			m.Lane, m.DueAt = "otp", noon()
		default:
			m.Lane = "a lane of the past"
		}
		put(t, s, m)
	}
	for lane, want := range map[string]struct {
		n  int
		of string
	}{"otp": {10, "otp"}, "bulk": {12, "bulk"}, "": {10, "a lane of the past"}, "billing": {}} {
		mails, err := s.Claim(t.Context(), lane, noon(), noon().Add(time.Minute), 12, ordinary)
		if err != nil || len(mails) != want.n {
			t.Errorf("Claim(%q) = %d mails, %v, want %d", lane, len(mails), err, want.n)
		}
		for _, m := range mails {
			if m.Lane != want.of {
				t.Errorf("Claim(%q) gave mail of %q, want %q", lane, m.Lane, want.of)
			}
		}
	}
}

func claimLease(x bundle) {
	t, s := x.t, x.store
	put(t, s, deferral("m1", 2, 0))
	claim(t, s, noon())
	if early := claim(t, s, noon().Add(59*time.Second)); len(early) != 0 {
		t.Errorf("Claim() within the lease = %v, want none", early)
	}
	if late := claim(t, s, noon().Add(61*time.Second)); len(late) != 1 || late[0].State != waiting.Leaving {
		t.Errorf("Claim() after the lease = %v, want the mail again", late)
	}
	// What may lie on its lane already is not expired here.
	if later := claim(t, s, noon().Add(100*time.Hour)); len(later) != 1 || later[0].State != waiting.Leaving {
		t.Errorf("Claim() after its expiry = %v, want it still leaving", later)
	}
}

// claimBand: with one attempt a mail lies in one band, however often it is
// released and whatever its tenant has there by then; the next attempt chooses
// anew.
func claimBand(x bundle) {
	t, s := x.t, x.store
	put(t, s, deferral("aside", 2, 0))
	now := noon()
	check := func(step string, place func(waiting.Mail) topic.Band, want map[string]topic.Band) {
		t.Helper()
		mails, err := s.Claim(t.Context(), "bulk", now, now.Add(time.Minute), 10, place)
		got := map[string]topic.Band{}
		for _, m := range mails {
			got[m.ID] = m.Band
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: Claim() = %v (-want +got):\n%s", step, err, diff)
		}
		now = now.Add(time.Hour)
	}
	check("first", overflow, map[string]topic.Band{"aside": topic.Overflow})
	put(t, s, deferral("plain", 2, 0))
	check("tenant is not crowded any more", ordinary, map[string]topic.Band{"aside": topic.Overflow, "plain": topic.Ordinary})
	check("tenant is crowded again", overflow, map[string]topic.Band{"aside": topic.Overflow, "plain": topic.Ordinary})
	if err := s.Postpone(t.Context(), []waiting.Ref{{ID: "aside", Attempt: 2}}, now); err != nil {
		t.Fatalf("Postpone() = %v", err)
	}
	check("postponed", ordinary, map[string]topic.Band{"aside": topic.Overflow, "plain": topic.Ordinary})

	finish(t, s, waiting.Ref{ID: "plain", Attempt: 2})
	next := deferral("aside", 3, now.Sub(noon()))
	put(t, s, next)
	mails, err := s.List(t.Context(), waiting.Scope{}, waiting.Cursor{}, 10)
	if err != nil || len(mails) != 1 || mails[0].Band != topic.Ordinary {
		t.Errorf("List() = %+v, %v, want the next attempt without a band", mails, err)
	}
	check("next attempt", ordinary, map[string]topic.Band{"aside": topic.Ordinary})
}

func claimConcurrent(x bundle) {
	t, s := x.t, x.store
	const n = 60
	for i := range n {
		put(t, s, deferral(name(i), 2, 0))
	}
	var mu sync.Mutex
	var got []string
	err := together(6, func(int) error {
		for {
			mails, err := s.Claim(t.Context(), "bulk", noon(), noon().Add(time.Minute), 7, ordinary)
			if err != nil {
				return err
			}
			mu.Lock()
			for _, m := range mails {
				got = append(got, m.ID)
			}
			done := len(mails) == 0 && len(got) >= n
			mu.Unlock()
			if done {
				return nil
			}
		}
	})
	slices.Sort(got)
	if unique := slices.Compact(slices.Clone(got)); err != nil || len(got) != n || len(unique) != n {
		t.Errorf("Claim() gave %d mails, %d different, %v, want %d of each", len(got), len(unique), err, n)
	}
}

func claimExpired(x bundle) {
	t, s := x.t, x.store
	m := deferral("m1", 2, 48*time.Hour) // due after it expires
	put(t, s, m)
	next, err := s.NextWake(t.Context(), "bulk")
	if err != nil || !next.Equal(m.ExpiresAt) {
		t.Fatalf("NextWake() = %v, %v, want its expiry %v", next, err, m.ExpiresAt)
	}
	got := claim(t, s, m.ExpiresAt)
	if len(got) != 1 || got[0].State != waiting.Settling || got[0].Ending != waiting.Expired {
		t.Fatalf("Claim() = %+v, want it settling as expired", got)
	}
	again := claim(t, s, m.ExpiresAt.Add(2*time.Minute))
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("Claim() after the lease (-first +second):\n%s", diff)
	}
}

func claimSuppressed(x bundle) {
	t, s := x.t, x.store
	bulk, bill := deferral("bulk", 2, 0), deferral("bill", 2, 0)
	bill.Kind, bill.Recipient = mail.KindBill, bulk.Recipient
	put(t, s, bulk, bill)
	if _, err := s.Suppress(t.Context(), suppression.Entry{Tenant: "acme", Address: "a", Key: bulk.Recipient, Cause: suppression.Unsubscribe}); err != nil {
		t.Fatalf("Suppress() = %v", err)
	}
	for _, m := range claim(t, s, noon()) {
		switch {
		case m.ID == "bulk" && (m.State != waiting.Settling || m.Ending != waiting.Suppressed || m.Reason != suppression.Unsubscribe.String()):
			t.Errorf("Claim() of bulk = %+v, want it suppressed", m)
		case m.ID == "bill" && m.State != waiting.Leaving:
			t.Errorf("Claim() of a bill = %+v, want it leaving", m)
		}
	}
}

func claimHeld(x bundle) {
	t, s := x.t, x.store
	put(t, s, deferral("for good", 2, 0), deferral("a while", 2, 0), deferral("due later", 2, 2*time.Hour))
	all := waiting.Scope{Lane: "bulk"}
	verb(t, "Hold(until)", 3)(s.Hold(t.Context(), all, "asked to", noon().Add(time.Hour), noon()))
	verb(t, "Hold(for good)", 1)(s.Hold(t.Context(), waiting.Scope{IDs: []string{"for good"}}, "asked to", time.Time{}, noon()))
	if got := claim(t, s, noon().Add(time.Minute)); len(got) != 0 {
		t.Errorf("Claim() while held = %v, want none", got)
	}
	got := claim(t, s, noon().Add(time.Hour))
	if len(got) != 1 || got[0].ID != "a while" || got[0].State != waiting.Leaving {
		t.Errorf("Claim() after the hold = %+v, want the one that is due", got)
	}
	mails, err := s.List(t.Context(), waiting.Scope{IDs: []string{"due later"}}, waiting.Cursor{}, 1)
	if err != nil || len(mails) != 1 || mails[0].Held {
		t.Errorf("List(due later) = %+v, %v, want it not held any more", mails, err)
	}
	verb(t, "Release", 1)(s.Release(t.Context(), waiting.Scope{IDs: []string{"for good"}}, noon().Add(time.Hour)))
	if got := claim(t, s, noon().Add(time.Hour)); len(got) != 1 || got[0].ID != "for good" {
		t.Errorf("Claim() after release = %+v, want the one that was held", got)
	}
}

func finishOlder(x bundle) {
	t, s := x.t, x.store
	put(t, s, deferral("m1", 2, 0))
	claim(t, s, noon())
	put(t, s, deferral("m1", 3, time.Hour)) // released, tried and deferred before we finished
	finish(t, s, waiting.Ref{ID: "m1", Attempt: 2})
	if got := list(t, s, waiting.Scope{}); len(got) != 1 {
		t.Errorf("List() = %v, want the newer attempt untouched", got)
	}
	counts(t, s, 1)
}

func postpone(x bundle) {
	t, s := x.t, x.store
	put(t, s, deferral("m1", 2, 0))
	ref := claim(t, s, noon())[0].Ref()
	if err := s.Postpone(t.Context(), []waiting.Ref{ref}, noon().Add(time.Second)); err != nil {
		t.Fatalf("Postpone() = %v", err)
	}
	if got := claim(t, s, noon()); len(got) != 0 {
		t.Errorf("Claim() before the time = %v, want none", got)
	}
	if got := claim(t, s, noon().Add(time.Second)); len(got) != 1 || got[0].State != waiting.Leaving {
		t.Errorf("Claim() at the time = %v, want it leaving", got)
	}
}

func cancel(x bundle) {
	t, s := x.t, x.store
	put(t, s, deferral("m1", 2, time.Hour))
	one := waiting.Scope{Tenant: "acme", IDs: []string{"m1"}}
	verb(t, "Cancel", 1)(s.Cancel(t.Context(), one, "paid", noon()))
	verb(t, "Cancel again", 0)(s.Cancel(t.Context(), one, "paid", noon()))
	verb(t, "Release of cancelled", 0)(s.Release(t.Context(), one, noon()))
	verb(t, "Hold of cancelled", 0)(s.Hold(t.Context(), one, "", time.Time{}, noon()))
	got := claim(t, s, noon())
	if len(got) != 1 || got[0].State != waiting.Settling || got[0].Ending != waiting.Cancelled || got[0].Reason != "paid" {
		t.Fatalf("Claim() = %+v, want it settling as cancelled", got)
	}
	finish(t, s, got[0].Ref())
	counts(t, s, 0)
	if got := claim(t, s, noon().Add(time.Hour)); len(got) != 0 {
		t.Errorf("Claim() after the end = %v, want none", got)
	}
}

func cancelLeaving(x bundle) {
	t, s := x.t, x.store
	put(t, s, deferral("m1", 2, 0))
	claim(t, s, noon())
	verb(t, "Cancel of leaving", 0)(s.Cancel(t.Context(), waiting.Scope{IDs: []string{"m1"}}, "", noon().Add(time.Hour)))
}

func scopes(x bundle) {
	t, s := x.t, x.store
	a, b := deferral("a", 2, time.Hour), deferral("b", 2, 2*time.Hour)
	b.Tenant, b.Lane, b.Kind, b.Domain, b.Site = "umbrella", "reminder", mail.KindReminder, "example.org", "example.info"
	b.Invoice, b.Template = "INV-1", "due"
	put(t, s, a, b)
	for name, c := range map[string]struct {
		scope waiting.Scope
		want  []string
	}{
		"everything":    {waiting.Scope{}, []string{"a", "b"}},
		"tenant":        {waiting.Scope{Tenant: "umbrella"}, []string{"b"}},
		"ids":           {waiting.Scope{IDs: []string{"a", "none"}}, []string{"a"}},
		"lane":          {waiting.Scope{Lane: "reminder"}, []string{"b"}},
		"invoice":       {waiting.Scope{Tenant: "umbrella", Invoice: "INV-1"}, []string{"b"}},
		"other invoice": {waiting.Scope{Tenant: "acme", Invoice: "INV-1"}, []string{}},
		"template":      {waiting.Scope{Template: "news"}, []string{"a"}},
		"domain":        {waiting.Scope{Domain: "example.org"}, []string{"b"}},
		"site":          {waiting.Scope{Site: "example.net"}, []string{"a"}},
		"kind":          {waiting.Scope{Kind: mail.KindReminder}, []string{"b"}},
		"all must hold": {waiting.Scope{Tenant: "acme", Lane: "reminder"}, []string{}},
	} {
		if got := list(t, s, c.scope); !cmp.Equal(got, c.want) {
			t.Errorf("List(%s) = %v, want %v", name, got, c.want)
		}
	}
}

func longLists(x bundle) {
	t, s := x.t, x.store
	const n = 1203
	err := together(n, func(i int) error { return s.Put(t.Context(), deferral(name(i), 2, time.Hour)) })
	if err != nil {
		t.Fatalf("Put() = %v", err)
	}
	counts(t, s, n)
	bulk := waiting.Scope{Lane: "bulk"}
	verb(t, "Hold", n)(s.Hold(t.Context(), bulk, "", time.Time{}, noon()))
	verb(t, "Release", n)(s.Release(t.Context(), bulk, noon()))
	verb(t, "Cancel", n)(s.Cancel(t.Context(), bulk, "", noon()))
}

func listing(x bundle) {
	t, s := x.t, x.store
	for i := range 5 {
		put(t, s, deferral(name(i), 2, time.Duration(5-i/2)*time.Hour)) // some share a due time
	}
	var got []string
	for after := (waiting.Cursor{}); ; {
		page, err := s.List(t.Context(), waiting.Scope{Tenant: "acme"}, after, 2)
		if err != nil {
			t.Fatalf("List(after %v) = %v", after, err)
		}
		for _, m := range page {
			got = append(got, m.ID)
			after = waiting.Cursor{DueAt: m.DueAt, ID: m.ID}
		}
		if len(page) < 2 {
			break
		}
	}
	if want := []string{name(4), name(2), name(3), name(0), name(1)}; !cmp.Equal(got, want) {
		t.Errorf("List() page by page = %v, want %v", got, want)
	}
}

func known(x bundle) {
	t, s := x.t, x.store
	admit(t, s, entry("k", "accepted"))
	put(t, s, deferral("waits", 2, time.Hour), deferral("left", 2, 0))
	finish(t, s, claim(t, s, noon())[0].Ref())
	for _, c := range []struct {
		tenant, id string
		want       bool
	}{
		{"acme", "accepted", true},
		{"acme", "waits", true},
		{"acme", "left", true},
		{"", "left", true},
		{"umbrella", "left", false},
		{"umbrella", "accepted", false},
		{"acme", "never", false},
	} {
		if got, err := s.Known(t.Context(), c.tenant, c.id); got != c.want || err != nil {
			t.Errorf("Known(%q, %q) = %v, %v, want %v", c.tenant, c.id, got, err, c.want)
		}
	}
}
