package store_test

import (
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/dbtest"
	"kurir.dev/services/tracker/internal/store"
)

// TestInherit: who opens a SQLite store that nobody has open has everything at
// once that a dead process had taken; on PostgreSQL, and beside a process that
// lives, it waits for its time.
func TestInherit(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	later := noon.Add(time.Hour)
	partitions := []store.Partition{{Topic: "kurir.events", Next: -1}}
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		enter := func() *store.Store {
			t.Helper()
			s, err := store.Open(t.Context(), url)
			if err != nil {
				t.Fatalf("Open() = %v", err)
			}
			return s
		}
		leave := func(s *store.Store) {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Fatalf("Close() = %v", err)
			}
		}
		take := func(s *store.Store, who string, want int) {
			t.Helper()
			leased, err := s.Lease(t.Context(), who, partitions, noon, later)
			if err != nil || len(leased) != want {
				t.Errorf("Lease(%q) = %v, %v, want %d partitions", who, leased, err, want)
			}
			parcels, err := s.ClaimParcels(t.Context(), noon, later, 10)
			if err != nil || len(parcels) != want {
				t.Errorf("ClaimParcels() by %s = %v, %v, want %d", who, parcels, err, want)
			}
			errands, err := s.ClaimErrands(t.Context(), noon, later, 10)
			if err != nil || len(errands) != want {
				t.Errorf("ClaimErrands() by %s = %v, %v, want %d", who, errands, err, want)
			}
		}
		a := enter()
		if err := a.Post(t.Context(), []broker.Message{{Topic: "kurir.events"}}); err != nil {
			t.Fatalf("Post() = %v", err)
		}
		for _, due := range []time.Time{noon, later} { // the second is never tried here
			if _, err := a.AddErrand(t.Context(), store.Errand{Kind: store.Suppress, Tenant: "acme", Since: noon}, due); err != nil {
				t.Fatalf("AddErrand() = %v", err)
			}
		}
		take(a, "a", 1)
		b := enter()
		take(b, "b, beside a", 0)
		leave(a)
		leave(b)
		c, want := enter(), 1
		if c.Shared() {
			want = 0
		}
		take(c, "c, after a died", want)
		leave(c)
	})
}
