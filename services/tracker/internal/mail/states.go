package mail

// State is where a mail stands; numbered as in the interface.
type State int

// The states. From Delivered on they are final.
const (
	Unknown State = iota
	Queued
	Scheduled
	Deferred
	Held
	Delivered
	Bounced
	Expired
	Cancelled
	Suppressed
)

// Final tells whether a mail in this state is settled for good.
func (s State) Final() bool { return s >= Delivered }

// String names the state as docs/states.md does.
func (s State) String() string { return name(stateNames[:], int(s)) }

// Type is what happened; numbered as in the interface.
type Type int

// The types of events.
const (
	NoType Type = iota
	Accepted
	ScheduledFor
	Released
	Attempted
	Committing
	DeferredFor
	HeldBack
	DeliveredTo
	BouncedBack
	RanOut
	CalledOff
	Stopped
	Opened
	Clicked
	Unsubscribed
	Complained
	BouncedLate
	Decided
)

// Types is how many types there are, NoType included; they are numbered from
// 0 without a gap.
const Types = int(Decided) + 1

// String names the type as the interface does, without its prefix.
func (t Type) String() string { return name(typeNames[:], int(t)) }

// Verdict says what an event does to the state of a mail.
type Verdict int

// The verdicts.
const (
	// Stays: the event belongs to the timeline only.
	Stays Verdict = iota
	// Moves: the event sets the state.
	Moves
	// Late: the event is final and the mail was settled before; it is kept in
	// the timeline and counted, for there should be none.
	Late
)

// Next is the transition table: where an event takes a mail, if it is not out
// of date. A state that is settled never changes again.
func Next(s State, t Type) (State, Verdict) {
	to, moves := targets[t]
	if t == Decided && s == Held {
		to, moves = Deferred, true
	}
	switch {
	case !moves:
		return s, Stays
	case s.Final() && to.Final():
		return s, Late
	case s.Final():
		return s, Stays
	}
	return to, Moves
}

// targets is where each type takes a mail that is not settled. Types that do
// not stand here leave it where it is; Decided lets a held mail wait again.
var targets = map[Type]State{
	Accepted:     Queued,
	ScheduledFor: Scheduled,
	Released:     Queued,
	Attempted:    Queued,
	Committing:   Queued,
	DeferredFor:  Deferred,
	HeldBack:     Held,
	DeliveredTo:  Delivered,
	BouncedBack:  Bounced,
	RanOut:       Expired,
	CalledOff:    Cancelled,
	Stopped:      Suppressed,
}

// Progress orders the events that move a mail that is not settled: by
// attempt, then by the place their type has within an attempt, then by time.
// Events of one attempt that come over different topics fall into place by
// it, whatever the clocks of their hosts say.
type Progress struct {
	Attempt uint32
	Rank    uint8
	At      int64 // Unix, nanoseconds
}

// Before tells whether p is an earlier moment than q.
func (p Progress) Before(q Progress) bool {
	switch {
	case p.Attempt != q.Attempt:
		return p.Attempt < q.Attempt
	case p.Rank != q.Rank:
		return p.Rank < q.Rank
	}
	return p.At < q.At
}

func progressOf(e Event) Progress {
	return Progress{Attempt: e.Attempt, Rank: e.Type.rank(), At: e.At.UnixNano()}
}

// rank is the place a type has within an attempt.
func (t Type) rank() uint8 {
	switch t {
	case Released:
		return 1
	case Attempted:
		return 2
	case Committing:
		return 3
	case DeferredFor, HeldBack, Decided:
		return 4
	case DeliveredTo, BouncedBack, RanOut, CalledOff, Stopped:
		return 5
	case Opened, Clicked, Unsubscribed, Complained, BouncedLate:
		return 6
	default:
		return 0
	}
}

func name(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return "INVALID"
	}
	return names[i]
}

var stateNames = [...]string{
	"UNKNOWN", "QUEUED", "SCHEDULED", "DEFERRED", "HELD",
	"DELIVERED", "BOUNCED", "EXPIRED", "CANCELLED", "SUPPRESSED",
}

var typeNames = [...]string{
	"NONE", "ACCEPTED", "SCHEDULED", "RELEASED", "ATTEMPTED", "COMMITTING",
	"DEFERRED", "HELD", "DELIVERED", "BOUNCED", "EXPIRED", "CANCELLED",
	"SUPPRESSED", "OPENED", "CLICKED", "UNSUBSCRIBED", "COMPLAINED",
	"BOUNCED_LATE", "DECIDED",
}
