package store_test

import (
	"context"
	"testing"

	"kurir.dev/kit/dbtest"
	"kurir.dev/kit/lane"
	"kurir.dev/services/router/internal/store"
	"kurir.dev/services/router/internal/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, sqlite)
}

func TestStorePostgres(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Store {
		t.Helper()
		return open(t, dbtest.Postgres(t))
	})
}

func sqlite(t *testing.T) storetest.Store {
	t.Helper()
	return open(t, dbtest.SQLite(t))
}

// open gives a running store that stops with the test.
func open(tb testing.TB, url string) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), url, lane.Default().Names())
	if err != nil {
		tb.Fatalf("Open() = %v", err)
	}
	part := s.Part()
	if err := part.Start(tb.Context()); err != nil {
		tb.Fatalf("Start() = %v", err)
	}
	tb.Cleanup(func() {
		if err := part.Stop(context.WithoutCancel(tb.Context())); err != nil {
			tb.Errorf("Stop() = %v", err)
		}
	})
	return s
}
