// Package kind says what follows from what a mail is for: its lane, whether it
// is followed, whether one can unsubscribe from it.
package kind

import (
	"fmt"

	"kurir.dev/kit/lane"
)

// Kind is what a mail is for.
type Kind int

const (
	// OTP is a one-time password or security alert. It is the zero value: what
	// nobody classified is not followed.
	OTP Kind = iota
	// Bill is an e-bill or receipt.
	Bill
	// Reminder reminds of an invoice.
	Reminder
	// Generic is anything else.
	Generic
)

// String returns the name that template.yaml uses.
func (k Kind) String() string {
	switch k {
	case OTP:
		return "otp"
	case Bill:
		return "bill"
	case Reminder:
		return "reminder"
	case Generic:
		return "generic"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// MarshalText returns the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the name.
func (k *Kind) UnmarshalText(text []byte) error {
	for _, known := range []Kind{OTP, Bill, Reminder, Generic} {
		if known.String() == string(text) {
			*k = known
			return nil
		}
	}
	return fmt.Errorf("kind %q is none of otp, bill, reminder, generic", text)
}

// Lane returns the name of the lane the kind belongs to.
func (k Kind) Lane() string {
	switch k {
	case OTP:
		return lane.OTP
	case Bill:
		return lane.Billing
	case Reminder:
		return lane.Reminder
	case Generic:
	}
	return lane.Bulk
}

// Tracked reports whether opens and clicks are followed.
func (k Kind) Tracked() bool { return k != OTP }

// Unsubscribable reports whether its reader may ask for no more of it: bills
// and codes are owed to the reader, reminders and the rest are not.
func (k Kind) Unsubscribable() bool { return k == Reminder || k == Generic }
