package waiting

// State is where a waiting mail stands. A hold is not a state but a mark
// beside it, so that a mail let go again still knows what it waited for.
//
//	         put                       put
//	          │                         │
//	     Scheduled                  Deferred
//	          ├──── due, not held ──────┤
//	          │            │            │
//	cancelled,│         Leaving ──┐     │ cancelled,
//	expired,  │            │      │lease│ expired,
//	suppressed│            │◀─────┘ends │ suppressed
//	          ▼            ▼            ▼
//	       Settling      (gone)      Settling
//	          │  ▲                      │
//	(gone) ◀──┘  └─ lease ends          └──▶ (gone)
//
// Leaving and Settling are decided for good: a mail that is Leaving may already
// lie on its lane, so nothing cancels or expires it here any more, and one that
// is Settling may already have told its final event. One exception: a mail that
// is Leaving and whose envelope cannot be opened lies on no lane of ours, and
// ends as Expired when its time is over.
type State uint8

// The states.
const (
	// Scheduled waits for its first release.
	Scheduled State = iota + 1
	// Deferred waits for another.
	Deferred
	// Leaving is on its way to its lane.
	Leaving
	// Settling is on its way to its final event.
	Settling
)

// String is the state as stores keep it.
func (s State) String() string {
	switch s {
	case Scheduled:
		return "scheduled"
	case Deferred:
		return "deferred"
	case Leaving:
		return "leaving"
	case Settling:
		return "settling"
	}
	return "unknown"
}

// ParseState reads what String wrote; zero for anything else.
func ParseState(s string) State {
	for _, st := range []State{Scheduled, Deferred, Leaving, Settling} {
		if st.String() == s {
			return st
		}
	}
	return 0
}

// Waits tells whether an operator can still hold, release or cancel.
func (s State) Waits() bool { return s == Scheduled || s == Deferred }

// May tells whether a mail may go from one state to another.
func (s State) May(to State) bool {
	switch s {
	case Scheduled, Deferred:
		return to == Leaving || to == Settling
	case Leaving, Settling:
		return to == s
	}
	return false
}

// Ending is the final event a settling mail comes to; zero is none.
type Ending uint8

// The endings a mail can come to while it waits.
const (
	Cancelled Ending = iota + 1
	Expired
	Suppressed
	// Delivered is a decision about mail that was in doubt.
	Delivered
)

// String is the ending as stores keep it; empty for none.
func (e Ending) String() string {
	switch e {
	case Cancelled:
		return "cancelled"
	case Expired:
		return "expired"
	case Suppressed:
		return "suppressed"
	case Delivered:
		return "delivered"
	}
	return ""
}

// ParseEnding reads what String wrote; zero for anything else.
func ParseEnding(s string) Ending {
	for _, e := range []Ending{Cancelled, Expired, Suppressed, Delivered} {
		if e.String() == s {
			return e
		}
	}
	return 0
}

// Tell are events that a mail in the room has still to tell, as bits: they are
// noted in the transaction that makes them true and forgotten once the broker
// has them, so each is told at least once.
type Tell uint8

// What there is to tell.
const (
	TellScheduled Tell = 1 << iota
	TellHeld
	TellDecided
)
