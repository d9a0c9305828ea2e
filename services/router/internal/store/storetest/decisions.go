package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/dead"
	"kurir.dev/services/router/internal/waiting"
)

// tells: what has something to tell is claimed at once though it waits on, only
// what was told is forgotten, and then it wakes when it would have.
func tells(x bundle) {
	t, s := x.t, x.store
	m := deferral("m1", 2, time.Hour)
	m.Tell = waiting.TellScheduled
	put(t, s, m)
	lease := noon().Add(time.Minute)
	got, err := s.Claim(t.Context(), "bulk", noon(), lease, 10, ordinary)
	if err != nil || len(got) != 1 || got[0].State != waiting.Deferred || got[0].Tell != waiting.TellScheduled || string(got[0].Envelope) != "sealed m1" {
		t.Fatalf("Claim() = %+v, %v, want the mail with something to tell", got, err)
	}
	// Held meanwhile: that is still to be told.
	verb(t, "Hold", 1)(s.Hold(t.Context(), waiting.Scope{IDs: []string{"m1"}}, "odd", time.Time{}, noon()))
	if err := s.Told(t.Context(), waiting.TellScheduled, []waiting.Ref{m.Ref()}); err != nil {
		t.Fatalf("Told() = %v", err)
	}
	got, err = s.Claim(t.Context(), "bulk", noon(), lease, 10, ordinary)
	if err != nil || len(got) != 1 || got[0].Tell != waiting.TellHeld || !got[0].Held || !got[0].HeldAt.Equal(noon()) {
		t.Fatalf("Claim() = %+v, %v, want the hold to be told", got, err)
	}
	if err := s.Told(t.Context(), waiting.TellHeld, []waiting.Ref{{ID: "m1", Attempt: 1}}); err != nil {
		t.Fatalf("Told(an older attempt) = %v", err)
	}
	if again, err := s.Claim(t.Context(), "bulk", lease, lease.Add(time.Minute), 10, ordinary); err != nil || len(again) != 1 {
		t.Errorf("Claim() after the lease = %+v, %v, want the hold once more", again, err)
	}
	if err := s.Told(t.Context(), waiting.TellHeld, []waiting.Ref{m.Ref()}); err != nil {
		t.Fatalf("Told() = %v", err)
	}
	if next, err := s.NextWake(t.Context(), "bulk"); err != nil || !next.Equal(m.ExpiresAt) {
		t.Errorf("NextWake() = %v, %v, want its expiry %v", next, err, m.ExpiresAt)
	}
	// Held once more it keeps its time, and nothing is told again.
	verb(t, "Hold again", 1)(s.Hold(t.Context(), waiting.Scope{IDs: []string{"m1"}}, "very odd", time.Time{}, noon().Add(time.Minute)))
	if again, err := s.Claim(t.Context(), "bulk", noon().Add(time.Hour), noon().Add(2*time.Hour), 10, ordinary); err != nil || len(again) != 0 {
		t.Errorf("Claim() of what is held twice = %+v, %v, want nothing", again, err)
	}
	if next, err := s.NextWake(t.Context(), "bulk"); err != nil || !next.Equal(m.ExpiresAt) {
		t.Errorf("NextWake() = %v, %v, want its expiry again", next, err)
	}
}

// decides: a decision reaches what is held and nothing else, and is to be told.
func decides(x bundle) {
	t, s := x.t, x.store
	doubt := deferral("doubt", 2, 0)
	doubt.Held, doubt.HeldAt, doubt.InDoubt, doubt.Hint = true, noon(), true, "b***@example.com"
	gone := doubt
	gone.ID, gone.InDoubt = "gone", false
	put(t, s, doubt, gone, deferral("free", 2, time.Hour))
	all := waiting.Scope{Tenant: "acme", Lane: "bulk"}
	held := all
	held.Held = true
	if got := list(t, s, held); !cmp.Equal(got, []string{"doubt", "gone"}) {
		t.Errorf("List(held) = %v, want both", got)
	}
	held.InDoubt = true
	mails, err := s.List(t.Context(), held, waiting.Cursor{}, 10)
	if err != nil || len(mails) != 1 || !mails[0].InDoubt || mails[0].Hint != doubt.Hint || !mails[0].HeldAt.Equal(noon()) {
		t.Errorf("List(in doubt) = %+v, %v, want the one with all that is known", mails, err)
	}
	verb(t, "Decide(send)", 1)(s.Decide(t.Context(), waiting.Scope{IDs: []string{"doubt"}}, 0, "asked them", noon()))
	verb(t, "Decide(delivered)", 1)(s.Decide(t.Context(), all, waiting.Delivered, "", noon()))
	verb(t, "Decide again", 0)(s.Decide(t.Context(), all, waiting.Delivered, "", noon()))
	want := map[string]waiting.Mail{
		"doubt": {State: waiting.Leaving, Reason: "send: asked them"},
		"gone":  {State: waiting.Settling, Ending: waiting.Delivered, Reason: "delivered"},
	}
	got := claim(t, s, noon())
	if len(got) != len(want) {
		t.Fatalf("Claim() = %+v, want two", got)
	}
	for _, m := range got {
		w := want[m.ID]
		if m.State != w.State || m.Ending != w.Ending || m.Reason != w.Reason || m.Tell != waiting.TellDecided || m.Held || m.InDoubt != (m.ID == "doubt") {
			t.Errorf("Claim() of %s = %+v, want %+v with the decision to tell", m.ID, m, w)
		}
	}
}

// sweeps: pending keys are found from the oldest on and not again once swept,
// and one that was tried again or is known to be nowhere says so.
func sweeps(x bundle) {
	t, s := x.t, x.store
	for i, key := range []string{"a", "b", "c"} {
		e := entry(key, "mail "+key)
		e.Receipt.AcceptedAt = noon().Add(time.Duration(i) * time.Minute)
		admit(t, s, e)
	}
	key := func(v string) admission.Key { return admission.Key{Tenant: "acme", Value: v} }
	if err := s.Confirm(t.Context(), []admission.Key{key("a")}); err != nil {
		t.Fatalf("Confirm() = %v", err)
	}
	span := admission.Span{From: noon().Add(time.Hour), To: noon().Add(2 * time.Hour)}
	for _, k := range []string{"a", "b"} {
		if err := s.Retry(t.Context(), key(k), span); err != nil {
			t.Fatalf("Retry(%s) = %v", k, err)
		}
	}
	open, err := s.Pending(t.Context(), noon().Add(2*time.Minute))
	if err != nil || len(open) != 1 || open[0].Key != key("b") || !open[0].Prior.Tried.From.Equal(span.From) || !open[0].Prior.Tried.To.Equal(span.To) {
		t.Fatalf("Pending() = %+v, %v, want b, tried again", open, err)
	}
	if err := s.Absent(t.Context(), key("b")); err != nil {
		t.Fatalf("Absent() = %v", err)
	}
	if v := admit(t, s, entry("b", "another")); v.Prior == nil || !v.Prior.Pending || !v.Prior.Absent {
		t.Errorf("Admit(b) = %+v, want it pending and nowhere", v.Prior)
	}
	if err := s.Swept(t.Context(), noon().Add(2*time.Minute)); err != nil {
		t.Fatalf("Swept() = %v", err)
	}
	if err := s.Swept(t.Context(), noon()); err != nil { // a replica that is behind
		t.Fatalf("Swept(earlier) = %v", err)
	}
	open, err = s.Pending(t.Context(), noon().Add(time.Hour))
	if err != nil || len(open) != 1 || open[0].Key != key("c") {
		t.Errorf("Pending() after the sweep = %+v, %v, want c alone", open, err)
	}
}

// replays: a replay is begun once, unless it is asked for again.
func replays(x bundle) {
	t, s := x.t, x.store
	for i, c := range []struct {
		again bool
		want  dead.Replay
	}{
		{false, dead.Replay{}},
		{false, dead.Replay{Begun: noon()}},
		{true, dead.Replay{Begun: noon()}},
	} {
		got, err := s.Begin(t.Context(), "0-1", noon().Add(time.Duration(i)*time.Second), c.again)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("Begin(%d) = %v (-want +got):\n%s", i, err, diff)
		}
	}
	if err := s.Done(t.Context(), "0-1", noon().Add(time.Minute)); err != nil {
		t.Fatalf("Done() = %v", err)
	}
	got, err := s.Replays(t.Context(), []string{"0-1", "0-2"})
	want := map[string]dead.Replay{"0-1": {Begun: noon().Add(2 * time.Second), Done: noon().Add(time.Minute)}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Replays() = %v (-want +got):\n%s", err, diff)
	}
}
