package storetest

import (
	"slices"
	"testing"
	"time"

	"kurir.dev/services/router/internal/waiting"
)

// Inherit is the duty of a store over its processes: who opens it when nobody
// has it open may claim at once what dead processes had claimed for a minute
// from noon, and nothing else. Where that cannot be known (shared), and beside a
// process that lives, the claims hold. enter opens one and the same store, and
// leave ends it.
func Inherit(t *testing.T, shared bool, enter func() (s Store, leave func())) {
	t.Helper()
	claimed := func(s Store) []string {
		var ids []string
		for _, m := range claim(t, s, noon()) {
			ids = append(ids, m.ID)
		}
		slices.Sort(ids)
		return ids
	}
	a, leaveA := enter()
	past := deferral("of the past", 2, 0)
	past.Lane = "a lane of the past"
	put(t, a, past, deferral("leaves", 2, 0), deferral("cancelled", 2, time.Second), deferral("waits", 2, time.Second))
	verb(t, "Cancel", 1)(a.Cancel(t.Context(), waiting.Scope{IDs: []string{"cancelled"}}, "", noon()))
	all := []string{"cancelled", "leaves", "of the past"}
	if got := claimed(a); !slices.Equal(got, all) {
		t.Fatalf("a claimed %v, want %v", got, all)
	}
	b, leaveB := enter()
	if got := claimed(b); len(got) != 0 {
		t.Errorf("b claimed %v beside a, want nothing", got)
	}
	leaveA()
	leaveB()
	c, leaveC := enter()
	if shared {
		all = nil
	}
	if got := claimed(c); !slices.Equal(got, all) {
		t.Errorf("c claimed %v after a died, want %v", got, all)
	}
	leaveC()
}
