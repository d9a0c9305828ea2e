// Package mail holds the words the router's rules speak in: the mail itself,
// what it is for, and the little of its business facts the router decides by.
// Nothing here knows how a mail is stored, sealed or sent.
package mail

import (
	"crypto/sha256"
	"strings"
	"time"
	"unicode/utf8"

	"kurir.dev/kit/lane"
)

// Kind is what a mail is for; its numbers are those of kurir.mail.v1.Kind.
type Kind int32

// The kinds of mail. KindNone is no kind and is refused at admission.
const (
	KindNone Kind = iota
	KindOTP
	KindBill
	KindReminder
	KindGeneric
)

// Lane names the lane a mail of the kind travels unless a lower one was asked
// for; empty for a kind that is not known.
func (k Kind) Lane() string {
	switch k {
	case KindOTP:
		return lane.OTP
	case KindBill:
		return lane.Billing
	case KindReminder:
		return lane.Reminder
	case KindGeneric:
		return lane.Bulk
	case KindNone:
	}
	return ""
}

// Facts is what the business wants to know of the mail with every event. The
// router reads two of them and carries the whole unread, so that facts newer
// than the router pass through it unharmed.
type Facts struct {
	// Invoice is the invoice the mail is about; empty for none.
	Invoice string
	// Template is the name of its template.
	Template string
	// Carried is the encoded whole.
	Carried []byte
}

// Trace is a W3C trace context; zero is none.
type Trace struct {
	Parent, State string
}

// Mail is one mail in, or on its way into, custody.
type Mail struct {
	ID     string
	Tenant string
	// Lane is the lane it travels.
	Lane string
	Kind Kind
	// Attempt is the release onto the lane this mail is for, from 1.
	Attempt uint32
	// Recipient is the RFC 5321 mailbox, its domain in A-labels.
	Recipient string
	// Domain is the recipient's domain, in lower case A-labels.
	Domain string
	// Key names tenant and recipient without telling the address.
	Key Key
	// ReturnDomain is the domain of the return path.
	ReturnDomain string
	// SMTPUTF8 says that the session must offer RFC 6531.
	SMTPUTF8 bool
	// AcceptedAt is when custody began; ExpiresAt when the mail is of no use
	// any more. Both in whole microseconds, which is what stores keep.
	AcceptedAt, ExpiresAt time.Time
	// Trace is the trace it belongs to; zero takes that of the context.
	Trace Trace
	// Doubtful says that an earlier attempt may have delivered it.
	Doubtful bool
	Facts    Facts
	// Message is the RFC 5322 message with CRLF line ends.
	Message []byte
}

// Key names a recipient of a tenant by a hash: what the router compares
// instead of addresses.
type Key [16]byte

// KeyOf is the key of a normalised address (mailaddr.Addr.Key) of a tenant.
func KeyOf(tenant, address string) Key {
	h := sha256.New()
	h.Write([]byte(tenant))
	h.Write([]byte{0})
	h.Write([]byte(address))
	var k Key
	copy(k[:], h.Sum(nil))
	return k
}

// Hint is an address as people may see it where they must not see it whole: the
// first letter of its local part and its domain, "b***@example.com".
func Hint(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 1 {
		return "***"
	}
	_, n := utf8.DecodeRuneInString(address)
	if address[0] == '"' || n >= at { // a quoted local part, or one of one letter
		n = 0
	}
	return address[:n] + "***" + address[at:]
}
