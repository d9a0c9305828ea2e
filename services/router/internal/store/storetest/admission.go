package storetest

import (
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/suppression"
	"kurir.dev/services/router/internal/waiting"
)

func keyOnce(x bundle) {
	t, s := x.t, x.store
	first := entry("k", "m1")
	if v := admit(t, s, first); v != (admission.Verdict{}) {
		t.Fatalf("Admit(first) = %+v, want it entered", v)
	}
	want := admission.Prior{Fingerprint: first.Fingerprint, Receipt: first.Receipt, Pending: true, Tried: admission.Span{From: noon(), To: noon()}}
	v := admit(t, s, entry("k", "m2"))
	if v.Prior == nil {
		t.Fatal("Admit(second) was entered, want the prior")
	}
	if diff := cmp.Diff(want, *v.Prior); diff != "" {
		t.Errorf("Admit(second).Prior (-want +got):\n%s", diff)
	}
}

// keyBand: a mail of a pending key is tried again where it was tried first, and
// the sweeper looks for it there.
func keyBand(x bundle) {
	t, s := x.t, x.store
	aside := entry("aside", "m1")
	aside.Band = topic.Overflow
	admit(t, s, aside)
	admit(t, s, entry("ordinary", "m2"))
	if err := s.Retry(t.Context(), aside.Key, admission.Span{From: noon(), To: noon().Add(time.Minute)}); err != nil {
		t.Fatalf("Retry() = %v", err)
	}
	want := map[string]topic.Band{"aside": topic.Overflow, "ordinary": topic.Ordinary}
	for key, band := range want {
		if v := admit(t, s, entry(key, "m3")); v.Prior == nil || v.Prior.Band != band || v.Prior.Unplaced {
			t.Errorf("Admit(%q).Prior = %+v, want it in %v", key, v.Prior, band)
		}
	}
	open, err := s.Pending(t.Context(), noon().Add(time.Hour))
	if err != nil || len(open) != len(want) {
		t.Fatalf("Pending() = %v, %v, want two", open, err)
	}
	for _, o := range open {
		if o.Prior.Band != want[o.Key.Value] {
			t.Errorf("Pending() gives %q in %v, want %v", o.Key.Value, o.Prior.Band, want[o.Key.Value])
		}
	}
}

func keyTenants(x bundle) {
	t, s := x.t, x.store
	admit(t, s, entry("k", "m1"))
	other := entry("k", "m2")
	other.Key.Tenant = "umbrella"
	if v := admit(t, s, other); v.Prior != nil {
		t.Errorf("Admit(same key, other tenant) = %+v, want it entered", v)
	}
}

func keyConfirm(x bundle) {
	t, s := x.t, x.store
	admit(t, s, entry("a", "m1"))
	admit(t, s, entry("b", "m2"))
	if err := s.Confirm(t.Context(), []admission.Key{{Tenant: "acme", Value: "a"}, {Tenant: "acme", Value: "gone"}}); err != nil {
		t.Fatalf("Confirm() = %v", err)
	}
	for key, pending := range map[string]bool{"a": false, "b": true} {
		if v := admit(t, s, entry(key, "m3")); v.Prior == nil || v.Prior.Pending != pending {
			t.Errorf("Admit(%q).Prior = %+v, want pending %v", key, v.Prior, pending)
		}
	}
}

// keyConcurrent: of many who come at once with one key, one is let in, and all
// others learn of it.
func keyConcurrent(x bundle) {
	t, s := x.t, x.store
	var in atomic.Int64
	var winner atomic.Value
	priors := make([]string, 100)
	err := together(len(priors), func(i int) error {
		e := entry("k", name(i))
		e.Urgent = i%2 == 0
		v, err := s.Admit(t.Context(), e)
		if v.Prior != nil {
			priors[i] = v.Prior.Receipt.MailID
		} else if err == nil {
			in.Add(1)
			winner.Store(name(i))
		}
		return err
	})
	if err != nil || in.Load() != 1 {
		t.Fatalf("Admit() let %d in, %v, want 1", in.Load(), err)
	}
	for i, p := range priors {
		if p != "" && p != winner.Load() {
			t.Errorf("Admit(%d).Prior = %s, want %s", i, p, winner.Load())
		}
	}
}

func keyless(x bundle) {
	t, s := x.t, x.store
	for range 2 {
		if v := admit(t, s, entry("", "m1")); v != (admission.Verdict{}) {
			t.Errorf("Admit(no key) = %+v, want it let in", v)
		}
	}
}

func suppressed(x bundle) {
	t, s := x.t, x.store
	suppress(t, s, "budi@example.com", suppression.HardBounce)
	if v := admit(t, s, entry("k", "m1")); v.Suppressed != suppression.HardBounce || v.Prior != nil {
		t.Errorf("Admit(suppressed) = %+v, want the cause", v)
	}
	if _, err := s.Unsuppress(t.Context(), "acme", entry("", "").Recipient); err != nil {
		t.Fatalf("Unsuppress() = %v", err)
	}
	if v := admit(t, s, entry("k", "m1")); v != (admission.Verdict{}) {
		t.Errorf("Admit(not suppressed any more) = %+v, want it entered", v)
	}
	suppress(t, s, "budi@example.com", suppression.Unsubscribe)
	if v := admit(t, s, entry("bill", "m2")); v != (admission.Verdict{}) {
		t.Errorf("Admit(bill to one who unsubscribed) = %+v, want it entered", v)
	}
}

func replayFirst(x bundle) {
	t, s := x.t, x.store
	admit(t, s, entry("k", "m1"))
	suppress(t, s, "budi@example.com", suppression.Manual)
	if v := admit(t, s, entry("k", "m2")); v.Prior == nil || v.Suppressed != suppression.None {
		t.Errorf("Admit(replay to a suppressed address) = %+v, want the prior", v)
	}
}

func scheduled(x bundle) {
	t, s := x.t, x.store
	e := entry("k", "m1")
	m := deferral("m1", 1, time.Hour)
	m.State, e.Waits, e.Receipt.SendAt = waiting.Scheduled, &m, m.DueAt
	if v := admit(t, s, e); v != (admission.Verdict{}) {
		t.Fatalf("Admit(scheduled) = %+v, want it entered", v)
	}
	v := admit(t, s, e)
	if v.Prior == nil || v.Prior.Pending || !v.Prior.Receipt.SendAt.Equal(m.DueAt) {
		t.Errorf("Admit(replay of scheduled) = %+v, want it accepted with its time", v.Prior)
	}
	if got := list(t, s, waiting.Scope{}); !cmp.Equal(got, []string{"m1"}) {
		t.Errorf("List() = %v, want m1 once", got)
	}
	counts(t, s, 1)

	suppress(t, s, "budi@example.com", suppression.Manual)
	refused := entry("k2", "m2")
	m2 := deferral("m2", 1, time.Hour)
	refused.Waits = &m2
	if v := admit(t, s, refused); v.Suppressed != suppression.Manual {
		t.Errorf("Admit(scheduled, suppressed) = %+v, want the cause", v)
	}
	counts(t, s, 1)
}

func strength(x bundle) {
	t, s := x.t, x.store
	const address = "siti@example.com"
	for _, step := range []struct{ add, stands suppression.Cause }{
		{suppression.Unsubscribe, suppression.Unsubscribe},
		{suppression.Complaint, suppression.Complaint},
		{suppression.Unsubscribe, suppression.Complaint},
		{suppression.HardBounce, suppression.HardBounce},
		{suppression.Manual, suppression.Manual},
		{suppression.Complaint, suppression.Manual},
	} {
		if got := suppress(t, s, address, step.add); got.Cause != step.stands || got.Note != step.stands.String() {
			t.Errorf("Suppress(%v) = %v (%s), want %v", step.add, got.Cause, got.Note, step.stands)
		}
	}
}

func suppressionList(x bundle) {
	t, s := x.t, x.store
	for _, a := range []string{"c@example.com", "a@example.com", "b@example.com"} {
		suppress(t, s, a, suppression.Manual)
	}
	var got []string
	for after := ""; ; {
		page, err := s.Suppressions(t.Context(), "acme", after, 2)
		if err != nil {
			t.Fatalf("Suppressions(after %q) = %v", after, err)
		}
		for _, e := range page {
			got = append(got, e.Address)
		}
		if len(page) < 2 {
			break
		}
		after = page[1].Address
	}
	if want := []string{"a@example.com", "b@example.com", "c@example.com"}; !cmp.Equal(got, want) {
		t.Errorf("Suppressions() = %v, want %v", got, want)
	}
	if other, err := s.Suppressions(t.Context(), "umbrella", "", 10); err != nil || len(other) != 0 {
		t.Errorf("Suppressions(other tenant) = %v, %v, want none", other, err)
	}
	want := suppress(t, s, "a@example.com", suppression.Manual)
	e, ok, err := s.Suppression(t.Context(), "acme", want.Key)
	if err != nil || !ok || !cmp.Equal(e, want) {
		t.Errorf("Suppression(a) = %+v, %v, %v, want %+v", e, ok, err, want)
	}
	if _, ok, err := s.Suppression(t.Context(), "umbrella", want.Key); ok || err != nil {
		t.Errorf("Suppression(other tenant) = %v, %v, want none", ok, err)
	}
	if removed, err := s.Unsuppress(t.Context(), "umbrella", want.Key); removed || err != nil {
		t.Errorf("Unsuppress(other tenant) = %v, %v, want nothing removed", removed, err)
	}
	if removed, err := s.Unsuppress(t.Context(), "acme", want.Key); !removed || err != nil {
		t.Errorf("Unsuppress(a) = %v, %v, want it removed", removed, err)
	}
}

func purge(x bundle) {
	t, s := x.t, x.store
	old, young := entry("old", "m1"), entry("young", "m2")
	young.Receipt.AcceptedAt = noon().Add(time.Hour)
	admit(t, s, old)
	admit(t, s, young)
	put(t, s, deferral("m3", 2, 0))
	claim(t, s, noon())
	finish(t, s, waiting.Ref{ID: "m3", Attempt: 2})
	n, err := s.Purge(t.Context(), noon().Add(time.Minute), noon().Add(time.Minute))
	if err != nil || n != 2 {
		t.Fatalf("Purge() = %d, %v, want the old key and the departure", n, err)
	}
	if v := admit(t, s, entry("young", "m4")); v.Prior == nil {
		t.Error("Admit(young) was entered, want its prior")
	}
	if v := admit(t, s, entry("old", "m5")); v.Prior != nil {
		t.Errorf("Admit(old) = %+v, want it entered anew", v.Prior)
	}
}
