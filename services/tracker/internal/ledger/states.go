package ledger

// State is where an invoice stands; numbered as in the interface.
type State int

// The states. An invoice is open from the first word of it.
const (
	NoState State = iota
	Open
	PaidUp
	PastDue
	Void
)

// String names the state as docs/states.md does.
func (s State) String() string {
	return [...]string{"NONE", "OPEN", "PAID", "OVERDUE", "VOIDED"}[s]
}

// Type is a step in the life of an invoice; numbered as in the interface.
type Type int

// The steps.
const (
	NoType Type = iota
	Issued
	Mailed
	OpenedMail
	PayClicked
	Reminded
	Paid
	Overdue
	Voided
)

// Types is how many types there are, NoType included; they are numbered from
// 0 without a gap.
const Types = int(Voided) + 1

// String names the step as the interface does, without its prefix.
func (t Type) String() string {
	return [...]string{
		"NONE", "ISSUED", "MAILED", "OPENED", "PAY_CLICKED", "REMINDED", "PAID", "OVERDUE", "VOIDED",
	}[t]
}

// Next is the transition table. Money that came is never unsaid: PAID wins
// over everything, and a paid invoice stays paid.
func Next(s State, t Type) State {
	switch {
	case s == PaidUp || t == Paid:
		return PaidUp
	case s == Void || t == Voided:
		return Void
	case s == PastDue || t == Overdue:
		return PastDue
	}
	return Open
}

// Settled tells whether nothing is asked for any more, so that a reminder
// would be wrong.
func (s State) Settled() bool { return s == PaidUp || s == Void }
