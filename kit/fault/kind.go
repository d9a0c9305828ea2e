package fault

import "strconv"

// Kind classes faults by what the caller can do about them. A Kind is itself an
// error, so that errors.Is(err, fault.NotFound) holds for every Error of it.
type Kind int

// The kinds. Internal is the zero value: what nobody classified is our own fault.
const (
	// Internal is our own fault; the caller may report it by the trace id.
	Internal Kind = iota
	// Invalid means the request must be mended before it is sent again.
	Invalid
	// Unauthenticated means the caller is not known.
	Unauthenticated
	// Denied means the caller is known and may not do this.
	Denied
	// NotFound means the thing named does not exist.
	NotFound
	// Exists means the thing to be made is there already.
	Exists
	// Precondition means the state of the system forbids it until that changes.
	Precondition
	// Conflict means a concurrent operation won: retry the whole operation.
	Conflict
	// Exhausted means a quota or a limit is used up: wait Error.RetryAfter.
	Exhausted
	// Unavailable means the service cannot do it now: retry with backoff.
	Unavailable
	// Unimplemented means the operation is declared and not built.
	Unimplemented
)

// Kinds returns all kinds, in order.
func Kinds() []Kind {
	return []Kind{
		Internal, Invalid, Unauthenticated, Denied, NotFound, Exists,
		Precondition, Conflict, Exhausted, Unavailable, Unimplemented,
	}
}

// Error returns the same as String; it makes Kind an error.
func (k Kind) Error() string { return k.String() }

// String returns the kind as words, fit for a log.
func (k Kind) String() string {
	switch k {
	case Internal:
		return "internal error"
	case Invalid:
		return "invalid request"
	case Unauthenticated:
		return "unauthenticated"
	case Denied:
		return "permission denied"
	case NotFound:
		return "not found"
	case Exists:
		return "already exists"
	case Precondition:
		return "precondition failed"
	case Conflict:
		return "conflict"
	case Exhausted:
		return "quota exhausted"
	case Unavailable:
		return "unavailable"
	case Unimplemented:
		return "unimplemented"
	default:
		return "kind " + strconv.Itoa(int(k))
	}
}
