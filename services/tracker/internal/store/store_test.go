package store_test

import (
	"testing"

	"kurir.dev/kit/dbtest"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, func(t *testing.T) *store.Store { return open(t, dbtest.SQLite(t)) })
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, func(t *testing.T) *store.Store { return open(t, dbtest.Postgres(t)) })
	})
}

func open(tb testing.TB, url string) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), url)
	if err != nil {
		tb.Fatalf("Open(%q) = %v, want no error", url, err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close() = %v, want no error", err)
		}
	})
	return s
}
