// Package waiting is the waiting room: it owns every mail in custody that must
// not go now.
//
// Mail comes in scheduled (from admission) or deferred (from the dispatchers),
// each with the attempt number its next release shall carry. It leaves
//
//  1. onto its lane, when it is due and not held;
//  2. to the final event EXPIRED, when its time ran out first;
//  3. to SUPPRESSED, when it is due and its recipient is suppressed by now;
//  4. to CANCELLED, when an operator, a sender or a payment says so.
//
// Each way out is decided in the store first, then told to Kafka and acked,
// then forgotten; a crash in between repeats the telling and never changes the
// decision. So a mail may be released twice with the same attempt, which
// dispatchers drop, and a final event may be told twice under the same event
// id, which is one event. What has left is remembered for a while by its
// highest attempt, so that a deferral that is read again does not bring it back.
package waiting

import (
	"time"

	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/mail"
)

// Mail is one waiting mail.
type Mail struct {
	ID       string
	Tenant   string
	Lane     string
	Kind     mail.Kind
	Domain   string
	Site     string
	Invoice  string
	Template string
	// Recipient is compared with the suppression list on release.
	Recipient mail.Key
	// Attempt is the number its next release carries, from 1.
	Attempt uint32
	State   State
	// Band is where on its lane it is put, chosen when it begins to leave:
	// however often it is released with one attempt, it lies in one place,
	// where the dispatchers know what they have had.
	Band topic.Band
	// Held keeps it until HoldUntil, or until it is released or expires when
	// HoldUntil is zero.
	Held      bool
	HoldUntil time.Time
	// HeldAt is when the hold began, kept after its end; zero for none.
	HeldAt time.Time
	// InDoubt says that an earlier attempt may have delivered it.
	InDoubt bool
	// Reason says in words why it waits, or why it ends.
	Reason string
	// Tell is what it has still to tell.
	Tell Tell
	// Hint is the recipient as people may see it: "b***@example.com".
	Hint string
	// Ending is set while it is settling.
	Ending Ending
	// DueAt is when it shall leave, ExpiresAt when it is of no use any more.
	DueAt, ExpiresAt time.Time
	// Envelope is the mail itself, sealed; not filled in by List.
	Envelope []byte
}

// atOnce is the WakeAt of what has something to tell.
const atOnce = 1 // microseconds since 1970; 0 is no time

// WakeAt is the time at which something has to be done about a mail that
// waits: it has an event to tell, it is due, its hold ends, or it expires.
func (m Mail) WakeAt() time.Time {
	if m.Tell != 0 {
		return time.UnixMicro(atOnce)
	}
	at := m.DueAt
	if m.Held {
		at = m.HoldUntil
		if at.IsZero() {
			return m.ExpiresAt
		}
	}
	if m.ExpiresAt.Before(at) {
		return m.ExpiresAt
	}
	return at
}

// Ref names one waiting mail as it was claimed. Work done for an older attempt
// never touches a newer one.
type Ref struct {
	ID      string
	Attempt uint32
}

// Ref names m.
func (m Mail) Ref() Ref { return Ref{ID: m.ID, Attempt: m.Attempt} }

// Decide says what has to become of m at now, when its recipient is
// suppressed (or not): the state it goes to and, for Settling, how it ends and
// why. A mail that is not to move keeps its state; one whose hold has ended
// comes back with Held false, and that to tell.
func (m Mail) Decide(now time.Time, suppressed string) Mail {
	switch {
	case !m.State.Waits():
		// Decided before; a lease ran out and the work is to be done again.
	case !m.ExpiresAt.After(now):
		m.State, m.Ending, m.Reason = Settling, Expired, "expired while waiting"
	case m.Held && (m.HoldUntil.IsZero() || m.HoldUntil.After(now)):
	case m.DueAt.After(now):
		m = m.letGo()
	case suppressed != "":
		m.State, m.Ending, m.Reason = Settling, Suppressed, suppressed
	default:
		m = m.letGo()
		m.State = Leaving
	}
	return m
}

// letGo ends a hold whose time is over.
func (m Mail) letGo() Mail {
	if m.Held {
		m.Held, m.HoldUntil, m.Tell = false, time.Time{}, m.Tell|TellDecided
	}
	return m
}
