// Package submission turns what a product service asks for into a finished
// mail and sees that the router takes it:
//
//  1. check the request, in full, before anything is made of it
//  2. find the template, its locale and the sender
//  3. render it, follow its links, build the message
//  4. hand it over; if an earlier try left its idempotency key pending, make
//     the same mail again under the id of that try, once
//
// Every refusal is a *fault.Error with a reason and the field, named as the
// request's proto names it.
package submission

import (
	"context"
	"time"

	"kurir.dev/services/composer/internal/civil"
	"kurir.dev/services/composer/internal/kind"
	"kurir.dev/services/composer/internal/money"
)

// Address is a mailbox with a name, not yet checked.
type Address struct {
	// Email is the mailbox.
	Email string
	// Name is shown beside it; empty shows the mailbox alone.
	Name string
}

// Options are what every kind of mail can be given.
type Options struct {
	// Locale is a BCP 47 locale; empty takes the tenant's.
	Locale string
	// From is the sender; nil takes the tenant's.
	From *Address
	// ReplyTo is where answers go; nil leaves the header out.
	ReplyTo *Address
	// Template is a template's name; empty takes the kind's own.
	Template string
	// SendAt is when to send; zero or past is now.
	SendAt time.Time
	// ExpiresIn is how long the mail is of use; nil takes the lane's default.
	ExpiresIn *time.Duration
	// Lane is a lane not above the kind's own; empty takes that.
	Lane string
	// Campaign is for reports.
	Campaign string
	// Labels come back with every event.
	Labels map[string]string
}

// Request asks for one mail.
type Request struct {
	// Tenant is who asks, as authenticated.
	Tenant string
	// Key is the idempotency key.
	Key string
	// Fingerprint tells a replay of Key from another request.
	Fingerprint []byte
	// To is the recipient; nil is refused.
	To *Address
	// Options are the caller's.
	Options Options
	// Item is what to send: an [OTP], [Bill], [Reminder] or [Generic].
	Item Item
}

// Item is what one kind of mail is made of.
type Item interface {
	// content checks the item and says what to render of it.
	content(c *Composer, t *tenant, o *Options) (*content, error)
}

// OTP is a one-time password.
type OTP struct {
	// Code as it is shown.
	Code string
	// ProductName is what the code belongs to.
	ProductName string
	// Origin is the host the code is for; empty leaves the autofill line out.
	Origin string
	// Purpose is the action being confirmed; may be empty.
	Purpose string
	// ClientIP is the address of the person asking; may be empty.
	ClientIP string
}

// Bill is an invoice. Amounts must be of one currency. Items must sum up
// to Total, tax included in them, or to Total less Tax; without items there is
// nothing to sum. A row's amount need not be quantity times price: rounding and
// rebates are the biller's.
type Bill struct {
	// InvoiceID is the key of the ledger.
	InvoiceID string
	// Number is what people see; empty shows InvoiceID.
	Number string
	// BillerName and CustomerName are who bills and who pays.
	BillerName, CustomerName string
	// Period is the period billed in the sender's words; may be empty.
	Period string
	// IssuedOn may be zero.
	IssuedOn civil.Date
	// DueOn is the day the payment is due.
	DueOn civil.Date
	// Items are its rows.
	Items []LineItem
	// Tax is what of Total is tax; the zero amount says nothing of it.
	Tax money.Amount
	// Total is what is to be paid.
	Total money.Amount
	// PayURL is where to pay: https, or http on this machine.
	PayURL string
}

// LineItem is one row of a bill.
type LineItem struct {
	// Description is what is charged.
	Description string
	// Quantity is how many; 0 hides it.
	Quantity int64
	// UnitPrice is the price of one; the zero amount hides it.
	UnitPrice money.Amount
	// Amount is what the row adds, negative for a discount.
	Amount money.Amount
}

// Reminder reminds of an invoice.
type Reminder struct {
	// Bill is what is still to be paid.
	Bill Bill
	// Step is the step of the dunning plan.
	Step string
	// DaysUntilDue is negative once overdue.
	DaysUntilDue int
}

// Generic is any other mail: by the template that the options name, or by own
// content.
type Generic struct {
	// Variables are the template's.
	Variables map[string]string
	// Content is the caller's own; nil when a template is named.
	Content *Content
}

// Content is a mail's own words.
type Content struct {
	// Subject is one line.
	Subject string
	// Text is the plain part; made from HTML when empty.
	Text string
	// HTML is the other part; empty sends Text alone.
	HTML string
}

// Facts are what events repeat of a mail.
type Facts struct {
	// Kind is the kind of mail.
	Kind kind.Kind
	// Template and Version are empty for own content.
	Template, Version string
	// Locale it was rendered in.
	Locale string
	// InvoiceID and ReminderStep are empty where there is none.
	InvoiceID, ReminderStep string
	// Amount and DueOn are zero where there is none.
	Amount money.Amount
	// DueOn is the day the invoice is due.
	DueOn civil.Date
	// Campaign and Labels are the caller's.
	Campaign string
	// Labels are the caller's.
	Labels map[string]string
	// MessageID is the header's value, angle brackets included.
	MessageID string
	// Recipient is the address as given.
	Recipient string
	// SenderDomain is the domain of From, in A-labels.
	SenderDomain string
	// Tracked tells whether opens and clicks are followed.
	Tracked bool
}

// Submission is a finished mail.
type Submission struct {
	// MailID is its id, UUIDv7.
	MailID string
	// Tenant is whose it is.
	Tenant string
	// Key and Fingerprint are those of the request.
	Key string
	// Fingerprint tells a replay of Key from another request.
	Fingerprint []byte
	// Lane asked for; empty is the kind's own.
	Lane string
	// ReturnDomain is the domain of the return path.
	ReturnDomain string
	// Recipient is local@domain, the domain in A-labels.
	Recipient string
	// Message is the RFC 5322 message.
	Message []byte
	// SendAt is zero for now.
	SendAt time.Time
	// ExpiresIn is zero for the lane's default.
	ExpiresIn time.Duration
	// SMTPUTF8 says that only RFC 6531 can carry it.
	SMTPUTF8 bool
	// Facts are what events repeat.
	Facts Facts
}

// Receipt is the router's answer to an accepted mail.
type Receipt struct {
	// MailID is the mail's id; that of the first try for a replay.
	MailID string
	// Lane it travels.
	Lane string
	// Scheduled mail waits for its SendAt.
	Scheduled bool
	// AcceptedAt is when custody began.
	AcceptedAt time.Time
	// ExpiresAt is when it ends at the latest.
	ExpiresAt time.Time
	// SendAt is zero when it leaves at once.
	SendAt time.Time
	// Replayed answers a replay of an idempotency key.
	Replayed bool
}

// Custodian takes finished mail into custody: the router, one call for each
// mail or many over a stream.
type Custodian interface {
	// Submit returns once the mail is durable. A key that another try left
	// pending is a fault of the reason IDEMPOTENCY_PENDING, with that try's
	// "mail_id" in its metadata.
	Submit(ctx context.Context, s *Submission) (Receipt, error)
}
