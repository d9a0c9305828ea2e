// Package suppression decides who must not be mailed.
//
// A tenant's list holds one entry for an address. The cause says how much it
// stops: a hard bounce or an operator's decision stops everything, a complaint
// all but one-time passwords, an unsubscription reminders and bulk. A weaker
// cause never replaces a stronger one; who wants that removes the entry first.
package suppression

import (
	"time"

	"kurir.dev/services/router/internal/mail"
)

// Cause is why an address is suppressed; its numbers are those of
// kurir.router.v1.SuppressionCause. Zero is no suppression.
type Cause int32

// The causes.
const (
	None Cause = iota
	HardBounce
	Complaint
	Unsubscribe
	Manual
)

// Stops tells whether an address suppressed for the cause must not get mail of
// the kind.
func (c Cause) Stops(k mail.Kind) bool {
	switch c {
	case HardBounce, Manual:
		return true
	case Complaint:
		return k != mail.KindOTP
	case Unsubscribe:
		return k == mail.KindReminder || k == mail.KindGeneric
	case None:
	}
	return false
}

// String is the cause in words, as events and errors tell it.
func (c Cause) String() string {
	switch c {
	case HardBounce:
		return "hard bounce"
	case Complaint:
		return "complaint"
	case Unsubscribe:
		return "unsubscribed"
	case Manual:
		return "suppressed by hand"
	case None:
	}
	return "none"
}

// Yields tells whether an entry of cause c gives way to a new one.
func (c Cause) Yields(to Cause) bool { return strength(to) >= strength(c) }

func strength(c Cause) int {
	switch c {
	case HardBounce, Manual:
		return 3
	case Complaint:
		return 2
	case Unsubscribe:
		return 1
	case None:
	}
	return 0
}

// Entry is one suppressed address of one tenant.
type Entry struct {
	Tenant string
	// Address is the normalised mailbox, and Key names it.
	Address string
	Key     mail.Key
	Cause   Cause
	Note    string
	Since   time.Time
}
