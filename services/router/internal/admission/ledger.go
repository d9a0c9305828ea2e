package admission

import (
	"context"
	"time"

	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/crowd"
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
	// Band is where on its lane the mail is put.
	Band topic.Band
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
	// Absent says that it was looked for since the last try, in vain.
	Absent bool
	// Tried is when a pending mail was put onto its lane, if it was.
	Tried Span
	// Band is where on its lane it is put, however often: there the dispatchers
	// know what they have had.
	Band topic.Band
	// Unplaced says that nobody noted a band when it was tried first: it may
	// lie in any partition.
	Unplaced bool
}

// Span is a time from one moment to another.
type Span struct{ From, To time.Time }

// Open is a key that is pending.
type Open struct {
	Key   Key
	Prior Prior
}

// Ledger keeps keys, suppressions and scheduled mail; the store is one.
type Ledger interface {
	// Admit decides about an entry and makes it, durably. A key that is taken
	// is answered with its Prior before the suppression list is asked.
	// Concurrent calls share a commit.
	Admit(ctx context.Context, e Entry) (Verdict, error)
	// Confirm marks keys as accepted; ones that are gone are passed over.
	Confirm(ctx context.Context, keys []Key) error
	// Retry notes that the mail of a pending key is about to be put onto its
	// lane once more.
	Retry(ctx context.Context, key Key, tried Span) error
}

// Unfinished is what the sweeper asks of the ledger; the store is one.
type Unfinished interface {
	// Pending gives pending keys that were entered before a time and since
	// Swept, the oldest first, a bounded number at once.
	Pending(ctx context.Context, before time.Time) ([]Open, error)
	// Confirm is that of the Ledger.
	Confirm(ctx context.Context, keys []Key) error
	// Absent notes that the mail of a key was looked for and is nowhere.
	Absent(ctx context.Context, key Key) error
	// Swept notes that all keys entered before a time were looked into.
	Swept(ctx context.Context, before time.Time) error
}

// Whereabouts is what looking for a mail came to.
type Whereabouts int

// The whereabouts.
const (
	// Nowhere: the mail never reached its lane.
	Nowhere Whereabouts = iota
	// There: it lies on its lane, or what became of it is known.
	There
	// Untold: the log of that time is gone.
	Untold
)

// String is the word for metrics.
func (w Whereabouts) String() string {
	switch w {
	case There:
		return "there"
	case Nowhere:
		return "nowhere"
	case Untold:
		return "untold"
	}
	return "unknown"
}

// Finding is what looking for a mail came to.
type Finding struct {
	Where Whereabouts
	// Mail is what was found, its message left out; set with There.
	Mail mail.Mail
}

// Finder looks for mail where the dispatchers would find it; wire.Finder is
// one.
type Finder interface {
	// Find looks for the mail of p, which was put onto its lane in the span if
	// it ever was. The effort is bounded by what its partition was given in that
	// span; an error says that the broker did not answer in ctx's time.
	Find(ctx context.Context, p Prior, span Span) (Finding, error)
}

// Carrier brings admitted mail to Kafka.
type Carrier interface {
	// Publish puts m onto its lane, where its seat is, and returns when that is
	// acknowledged; the seat is told where it landed, then or later. Any error
	// means that nobody knows whether m is there.
	Publish(ctx context.Context, m mail.Mail, s *crowd.Seat) error
	// Seal packs m for the waiting room.
	Seal(ctx context.Context, m mail.Mail) ([]byte, error)
	// Accepted tells the event ACCEPTED without waiting, and answers through
	// done, if there is one, whether the broker has it. done must not block.
	Accepted(ctx context.Context, m mail.Mail, r Receipt, done func(told bool))
}
