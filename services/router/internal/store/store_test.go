package store_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"kurir.dev/kit/dbtest"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/services/router/internal/admission"
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

// What is not urgent waits until the gate lets its lane pass, and what is urgent
// does not wait for it.
func TestAdmissionStandsBack(t *testing.T) {
	t.Parallel()
	g := gate.New(gate.Config{Places: 1}, lane.Default())
	s := openAt(t, dbtest.SQLite(t), g)
	leave, err := g.Enter(t.Context(), lane.OTP, "")
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	now := time.Now()
	bulk := keyed("bulk", now)
	bulk.Receipt.Lane = lane.Bulk
	done := make(chan error, 1)
	go func() {
		_, err := s.Admit(t.Context(), bulk)
		done <- err
	}()
	for i := range 50 { // of which one at least would have had the other before it
		e := keyed(fmt.Sprintf("otp-%d", i), now)
		e.Urgent = true
		if _, err := s.Admit(t.Context(), e); err != nil {
			t.Fatalf("Admit(urgent) = %v, want nil while bulk stands back", err)
		}
	}
	open, err := s.Pending(t.Context(), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(open, func(o admission.Open) bool { return o.Key == bulk.Key }) {
		t.Error("a bulk mail was entered while its lane had no place at the gate")
	}
	leave()
	if err := <-done; err != nil {
		t.Errorf("Admit(bulk) = %v, want nil once there was a place", err)
	}
}

// open gives a running store that stops with the test.
func open(tb testing.TB, url string) *store.Store {
	tb.Helper()
	return openAt(tb, url, nil)
}

func openAt(tb testing.TB, url string, g *gate.Gate) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), url, lane.Default().Names(), g)
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
