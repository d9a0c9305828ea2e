package admission

import (
	"context"

	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
	"kurir.dev/services/router/internal/waiting"
)

// Key names a submission by its tenant and the caller's key.
type Key struct {
	Tenant, Value string
}

// Entry asks the ledger to let one mail in.
type Entry struct {
	// Key is the idempotency key; an empty Value is not entered.
	Key Key
	// Fingerprint belongs to the key.
	Fingerprint string
	// Recipient and Kind are checked against the suppression list.
	Recipient mail.Key
	Kind      mail.Kind
	// Urgent is set for mail of the highest lane: it shares no commit with
	// what is not, and waits for one at most.
	Urgent bool
	// Receipt is the answer to remember under the key.
	Receipt Receipt
	// Waits is the mail itself when it is scheduled; it goes into the waiting
	// room in the same commit, and the key is accepted at once. Nil for a mail
	// that goes to its lane: its key is pending until it is confirmed.
	Waits *waiting.Mail
}

// Verdict is what the ledger answers.
type Verdict struct {
	// Prior is what stands under the key already; nil when the entry was made.
	Prior *Prior
	// Suppressed is why the recipient must not be mailed; no entry was made.
	Suppressed suppression.Cause
}

// Prior is an earlier submission under the same key.
type Prior struct {
	Fingerprint string
	Receipt     Receipt
	// Pending says that nobody knows yet whether it reached its lane.
	Pending bool
}

// Ledger keeps keys, suppressions and scheduled mail; the store is one.
type Ledger interface {
	// Admit decides about an entry and makes it, durably. A key that is taken
	// is answered with its Prior before the suppression list is asked.
	// Concurrent calls share a commit.
	Admit(ctx context.Context, e Entry) (Verdict, error)
	// Confirm marks keys as accepted; ones that are gone are passed over.
	Confirm(ctx context.Context, keys []Key) error
}

// Carrier brings admitted mail to Kafka.
type Carrier interface {
	// Publish puts m onto its lane and returns when that is acknowledged. Any
	// error means that nobody knows whether m is there.
	Publish(ctx context.Context, m mail.Mail) error
	// Seal packs m for the waiting room.
	Seal(ctx context.Context, m mail.Mail) ([]byte, error)
	// Accepted tells the event ACCEPTED, or SCHEDULED for a receipt that has a
	// SendAt, without waiting and at most once.
	Accepted(ctx context.Context, m mail.Mail, r Receipt)
}
