// Package lane holds the priority classes of mail: which lane goes first, how
// soon each retries, and when it gives up.
//
// A lane is configuration. [Default] is the set Kurir ships with; an operator
// may rename, add or retune lanes in YAML. The kind of a mail chooses its
// lane, never its size; a tenant may lower its lane and not raise it
// ([Set.Allowed]).
//
// Everything here is a value: safe to copy and to share between goroutines as
// long as nobody writes to the slices.
package lane

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Names of the default lanes.
const (
	OTP      = "otp"
	Billing  = "billing"
	Reminder = "reminder"
	Bulk     = "bulk"
)

// Jitter is the share by which a retry delay is spread to either side, so
// that mail which failed together does not come back together.
const Jitter = 0.2

// Lane is one priority class.
type Lane struct {
	// Name is 1 to 32 of a-z, 0-9 and '-'; it becomes part of topic names.
	Name string `yaml:"name"`
	// Rank orders lanes: the lowest goes first.
	Rank int `yaml:"rank"`
	// Weight is the lane's share, relative to the other lanes' weights, of a
	// budget that lanes divide between them (workers, prefetch); at least 1.
	Weight int `yaml:"weight"`
	// FloorPercent of throughput is kept for the lane however much mail the
	// lanes above it have; 0 keeps nothing. Floors of a set sum to 100 at most.
	FloorPercent int `yaml:"floor_percent"`
	// Ladder is the wait after the first, second, ... failed try; its last
	// step repeats until the mail expires.
	Ladder []time.Duration `yaml:"ladder"`
	// Expiry is when a mail is given up unless its sender says otherwise,
	// counted from acceptance.
	Expiry time.Duration `yaml:"expiry"`
	// MinExpiry and MaxExpiry bound what a sender may ask for.
	MinExpiry time.Duration `yaml:"min_expiry"`
	// MaxExpiry is the upper bound; see MinExpiry.
	MaxExpiry time.Duration `yaml:"max_expiry"`
	// InDoubt says what becomes of a mail whose final dot was sent and whose
	// reply was lost.
	InDoubt InDoubt `yaml:"in_doubt"`
	// Inline keeps retries inside the dispatcher instead of sending the mail
	// back to the waiting room: for ladders of seconds.
	Inline bool `yaml:"inline"`
}

// NextDelay is how long to wait after the attempt-th failed try (1 for the
// first; less counts as 1), spread by [Jitter] to either side. rnd yields
// numbers in [0,1); nil means math/rand/v2. A lane without a ladder answers 0.
func (l Lane) NextDelay(attempt int, rnd func() float64) time.Duration {
	if len(l.Ladder) == 0 {
		return 0
	}
	if rnd == nil {
		rnd = rand.Float64
	}
	step := l.Ladder[min(max(attempt, 1), len(l.Ladder))-1]
	return time.Duration(float64(step) * (1 - Jitter + 2*Jitter*rnd()))
}

// ClampExpiry answers the life a mail gets when its sender asks for d: the
// default for 0, else d if it lies within the lane's bounds; false if not.
func (l Lane) ClampExpiry(d time.Duration) (time.Duration, bool) {
	if d == 0 {
		return l.Expiry, true
	}
	return d, d >= l.MinExpiry && d <= l.MaxExpiry
}

// InDoubt is what to do with a mail whose final dot went out and whose reply
// never came: SMTP cannot tell whether it was delivered.
type InDoubt int

const (
	// Resend sends it again with the same Message-ID: better twice than never.
	Resend InDoubt = iota
	// Hold keeps it for a decision: better late than twice.
	Hold
)

// String is the YAML form: resend or hold.
func (d InDoubt) String() string {
	switch d {
	case Resend:
		return "resend"
	case Hold:
		return "hold"
	}
	return fmt.Sprintf("InDoubt(%d)", int(d))
}

// MarshalText writes resend or hold.
func (d InDoubt) MarshalText() ([]byte, error) {
	if d != Resend && d != Hold {
		return nil, fmt.Errorf("in_doubt %d is neither resend nor hold", int(d))
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads resend or hold.
func (d *InDoubt) UnmarshalText(text []byte) error {
	switch string(text) {
	case "resend":
		*d = Resend
	case "hold":
		*d = Hold
	default:
		return fmt.Errorf("in_doubt %q is neither resend nor hold", text)
	}
	return nil
}
