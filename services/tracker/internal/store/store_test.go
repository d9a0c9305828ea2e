package store_test

import (
	"slices"
	"testing"

	"kurir.dev/kit/dbtest"
	"kurir.dev/services/tracker/internal/mail"
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

// watched is a turn that notes what was done with it, and whether a mail could be
// seen by then.
type watched struct {
	did  []string
	seen func() bool
}

func (w *watched) note(what string) {
	if w.seen() {
		what += " after the commit"
	}
	w.did = append(w.did, what)
}

func (w *watched) Pause() { w.note("pause") }
func (w *watched) Leave() { w.note("leave") }

// Before its commit a batch waits for those who need the disk more, and no place
// is held while it syncs. On PostgreSQL it waits for nobody while it has the lock.
func TestIngestStandsBackBeforeItsCommit(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		standsBack(t, open(t, dbtest.SQLite(t)), "pause", "pause", "leave") // the first before mails are read
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		standsBack(t, open(t, dbtest.Postgres(t)), "leave")
	})
}

func standsBack(t *testing.T, s *store.Store, want ...string) {
	t.Helper()
	e := &mail.Event{
		ID: "01900000-0000-7000-8000-000000000001/0/0/accepted", MailID: "01900000-0000-7000-8000-000000000001",
		Tenant: "acme", Lane: "bulk", Type: mail.Accepted, At: storetest.Noon(),
	}
	turn := &watched{seen: func() bool {
		_, err := s.Mail(t.Context(), e.Tenant, e.MailID)
		return err == nil
	}}
	if _, err := s.Ingest(t.Context(), []store.Record{{Topic: "t", Event: e}}, storetest.Noon(), turn); err != nil {
		t.Fatalf("Ingest() = %v, want no error", err)
	}
	if !turn.seen() {
		t.Fatal("the mail of an event that was stored is unknown")
	}
	if !slices.Equal(turn.did, want) {
		t.Errorf("with its turn it did %v, want %v, all before the commit", turn.did, want)
	}
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
