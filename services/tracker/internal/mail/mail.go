// Package mail is what the tracker knows of one mail: the events that
// happened to it, and the state they add up to.
//
// Events come over several topics and so in any order. Two rules make the
// state come out the same: an event that tells of an earlier moment than one
// already seen moves nothing (see Progress), and of the final events the
// first to be stored wins. The states and their moves stand in states.go and
// are drawn in docs/states.md.
package mail

import "time"

// Kind is what a mail is for; numbered as in the interface.
type Kind int

// The kinds.
const (
	NoKind Kind = iota
	OTP
	Bill
	Reminder
	Generic
)

// Money is an amount: units and billionths, of one sign.
type Money struct {
	Currency string // ISO 4217; empty means no amount
	Units    int64
	Nanos    int32
}

// Facts are what the sender's business wants to know again with every event
// of a mail.
type Facts struct {
	Kind         Kind
	Template     string
	Version      string
	Locale       string
	InvoiceID    string // empty: about no invoice
	ReminderStep string
	Campaign     string
	Recipient    string // in its comparable form
	Domain       string // the recipient's
	SenderDomain string
	Amount       Money
	DueOn        string // YYYY-MM-DD, or empty
	// Body is the facts as they came, for answers; opaque here. Empty means
	// that no facts are known.
	Body []byte
}

// Hit is one fetch of a mail's pixel or of one of its links.
type Hit struct {
	Link  string // label; empty for the pixel
	Human bool
}

// Event is one thing that happened to one mail.
type Event struct {
	Position    int64 // in the store, from 1; 0 while not stored
	ID          string
	Type        Type
	MailID      string
	Tenant      string
	Lane        string
	Attempt     uint32
	Sequence    uint32
	At          time.Time
	Facts       Facts
	Hit         *Hit   // of OPENED, CLICKED and UNSUBSCRIBED
	Traceparent string // W3C
	// Body is the event as it came but for its facts, for answers; opaque here.
	Body []byte
}

// Mail is a mail as its events tell of it. The zero value, with Tenant and ID
// set, is a mail of which nothing is known.
type Mail struct {
	ID     string
	Tenant string
	Lane   string
	State  State
	Facts  Facts
	// Progress is the latest moment that moved the state.
	Progress Progress
	// AcceptedAt is when custody began; until that event is seen, the
	// earliest moment anything is known of.
	AcceptedAt time.Time
	// Accepted is true once AcceptedAt is certain.
	Accepted    bool
	DeliveredAt time.Time // zero while not delivered
	SettledAt   time.Time // zero while not settled
	Opens       int64     // human
	Clicks      int64     // human
	MachineHits int64
	Traceparent string
}

// Apply lets an event that was not seen before happen to the mail.
func (m *Mail) Apply(e Event) Verdict {
	m.identify(e)
	m.count(e)
	to, verdict := Next(m.State, e.Type)
	if verdict != Moves {
		return verdict
	}
	if !to.Final() {
		p := progressOf(e)
		if p.Before(m.Progress) {
			return Stays
		}
		m.Progress = p
	}
	m.State = to
	if to.Final() {
		m.SettledAt = e.At
	}
	if to == Delivered {
		m.DeliveredAt = e.At
	}
	return Moves
}

// identify takes over what the event says about the mail itself.
func (m *Mail) identify(e Event) {
	if m.Lane == "" {
		m.Lane = e.Lane
	}
	if len(m.Facts.Body) == 0 {
		m.Facts = e.Facts
	}
	begins := e.Type == Accepted || e.Type == ScheduledFor
	if m.Traceparent == "" || (begins && e.Traceparent != "") {
		m.Traceparent = e.Traceparent
	}
	switch {
	case begins && (!m.Accepted || e.At.Before(m.AcceptedAt)):
		m.AcceptedAt, m.Accepted = e.At, true
	case !m.Accepted && (m.AcceptedAt.IsZero() || e.At.Before(m.AcceptedAt)):
		m.AcceptedAt = e.At
	}
}

// count adds a hit up.
func (m *Mail) count(e Event) {
	if e.Hit == nil || (e.Type != Opened && e.Type != Clicked) {
		return
	}
	switch {
	case !e.Hit.Human:
		m.MachineHits++
	case e.Type == Opened:
		m.Opens++
	default:
		m.Clicks++
	}
}
