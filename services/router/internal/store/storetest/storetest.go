// Package storetest says what the router's store promises, as tests that every
// backend runs.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"kurir.dev/kit/lane"
	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/dead"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
	"kurir.dev/services/router/internal/waiting"
)

// Store is all that the router asks of its store.
type Store interface {
	admission.Ledger
	admission.Unfinished
	dead.Ledger
	// Suppress adds e, unless the entry that stands does not yield to it, and
	// gives back the entry as it then stands.
	Suppress(ctx context.Context, e suppression.Entry) (suppression.Entry, error)
	// Unsuppress removes an entry and tells whether there was one.
	Unsuppress(ctx context.Context, tenant string, key mail.Key) (bool, error)
	// Suppressions lists a tenant's entries by address, beginning after the
	// address given, at most limit.
	Suppressions(ctx context.Context, tenant, after string, limit int) ([]suppression.Entry, error)
	// Suppression looks one address up.
	Suppression(ctx context.Context, tenant string, key mail.Key) (suppression.Entry, bool, error)
	waiting.Desk
	waiting.Queue
	// Put takes a deferred mail in.
	Put(ctx context.Context, m waiting.Mail) error
	// Counts tells how many mails of each lane are in the room.
	Counts(ctx context.Context) (map[string]int64, error)
	// Purge forgets what is older.
	Purge(ctx context.Context, keys, left time.Time) (int64, error)
}

// Run runs the suite; open gives each test an empty, running store that knows
// the lanes of lane.Default.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	for name, test := range map[string]func(b bundle){
		"key is entered once":               keyOnce,
		"key of another tenant is another":  keyTenants,
		"key remembers its band":            keyBand,
		"key is confirmed":                  keyConfirm,
		"keys of concurrent callers":        keyConcurrent,
		"keyless is always new":             keyless,
		"suppression is asked":              suppressed,
		"replay goes before suppression":    replayFirst,
		"scheduled mail is in with its key": scheduled,
		"put is idempotent by attempt":      putIdempotent,
		"what left does not come back":      putDeparted,
		"claim takes what is due, once":     claimOnce,
		"claim keeps to its lane":           claimLane,
		"what is to be told is told":        tells,
		"held mail is decided about":        decides,
		"pending keys are swept":            sweeps,
		"replays are remembered":            replays,
		"claim ends with its lease":         claimLease,
		"a release keeps its band":          claimBand,
		"claims of concurrent replicas":     claimConcurrent,
		"claim expires what is too late":    claimExpired,
		"claim suppresses":                  claimSuppressed,
		"claim respects holds":              claimHeld,
		"late work spares newer attempts":   finishOlder,
		"postponed work comes back":         postpone,
		"cancel decides for good":           cancel,
		"cancel does not reach what leaves": cancelLeaving,
		"scopes select":                     scopes,
		"verbs work through long lists":     longLists,
		"listing is paged by due time":      listing,
		"known mail is known":               known,
		"suppressions stand by strength":    strength,
		"suppressions are listed":           suppressionList,
		"purge forgets what is old":         purge,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(bundle{t: t, store: open(t)})
		})
	}
}

// bundle is one test and its empty store.
type bundle struct {
	t     *testing.T
	store Store
}

// noon is when the tests happen.
func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// entry is a submission of mail id under a key.
func entry(key, id string) admission.Entry {
	return admission.Entry{
		Key: admission.Key{Tenant: "acme", Value: key}, Fingerprint: "print of " + key,
		Recipient: mail.KeyOf("acme", "budi@example.com"), Kind: mail.KindBill,
		Receipt: admission.Receipt{MailID: id, Lane: "billing", AcceptedAt: noon(), ExpiresAt: noon().Add(time.Hour)},
	}
}

// deferral is a waiting mail, due in a while.
func deferral(id string, attempt uint32, due time.Duration) waiting.Mail {
	return waiting.Mail{
		ID: id, Tenant: "acme", Lane: "bulk", Kind: mail.KindGeneric, Domain: "example.com", Site: "example.net",
		Template: "news", Recipient: mail.KeyOf("acme", id+"@example.com"), Attempt: attempt, State: waiting.Deferred,
		Reason: "greylisted", DueAt: noon().Add(due), ExpiresAt: noon().Add(24 * time.Hour), Envelope: []byte("sealed " + id),
	}
}

func admit(t *testing.T, s Store, e admission.Entry) admission.Verdict {
	t.Helper()
	v, err := s.Admit(t.Context(), e)
	if err != nil {
		t.Fatalf("Admit(%v) = %v", e.Key, err)
	}
	return v
}

func put(t *testing.T, s Store, mails ...waiting.Mail) {
	t.Helper()
	for _, m := range mails {
		if err := s.Put(t.Context(), m); err != nil {
			t.Fatalf("Put(%s) = %v", m.ID, err)
		}
	}
}

// ordinary places all mail in the ordinary band, overflow all in the other.
func ordinary(waiting.Mail) topic.Band { return topic.Ordinary }
func overflow(waiting.Mail) topic.Band { return topic.Overflow }

// claim claims what is due of all lanes, notes as told what has something to
// tell and waits on, and gives back what leaves.
func claim(t *testing.T, s Store, now time.Time) []waiting.Mail {
	t.Helper()
	var leaving []waiting.Mail
	for _, lane := range append(lane.Default().Names(), "") {
		mails, err := s.Claim(t.Context(), lane, now, now.Add(time.Minute), 100, ordinary)
		if err != nil {
			t.Fatalf("Claim(%s, %v) = %v", lane, now, err)
		}
		for _, m := range mails {
			if !m.State.Waits() {
				leaving = append(leaving, m)
			} else if err := s.Told(t.Context(), m.Tell, []waiting.Ref{m.Ref()}); err != nil {
				t.Fatalf("Told(%s) = %v", m.ID, err)
			}
		}
	}
	return leaving
}

func finish(t *testing.T, s Store, refs ...waiting.Ref) {
	t.Helper()
	if err := s.Finish(t.Context(), refs, noon()); err != nil {
		t.Fatalf("Finish(%v) = %v", refs, err)
	}
}

func suppress(t *testing.T, s Store, address string, c suppression.Cause) suppression.Entry {
	t.Helper()
	e, err := s.Suppress(t.Context(), suppression.Entry{
		Tenant: "acme", Address: address, Key: mail.KeyOf("acme", address), Cause: c, Note: c.String(), Since: noon(),
	})
	if err != nil {
		t.Fatalf("Suppress(%v) = %v", c, err)
	}
	return e
}

func list(t *testing.T, s Store, sc waiting.Scope) []string {
	t.Helper()
	mails, err := s.List(t.Context(), sc, waiting.Cursor{}, 1000)
	if err != nil {
		t.Fatalf("List(%+v) = %v", sc, err)
	}
	ids := []string{}
	for _, m := range mails {
		ids = append(ids, m.ID)
	}
	return ids
}

// verb checks how many mails a verb reached.
func verb(t *testing.T, name string, want int64) func(n int64, err error) {
	t.Helper()
	return func(n int64, err error) {
		t.Helper()
		if n != want || err != nil {
			t.Fatalf("%s = %d, %v, want %d", name, n, err, want)
		}
	}
}

func counts(t *testing.T, s Store, want int64) {
	t.Helper()
	n, err := s.Counts(t.Context())
	if err != nil || n["bulk"] != want {
		t.Errorf("Counts() = %v, %v, want bulk %d", n, err, want)
	}
}

// together runs n calls at once and joins their errors.
func together(n int, call func(i int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- call(i) }()
	}
	var all []error
	for range n {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func name(i int) string { return fmt.Sprintf("mail-%04d", i) }
