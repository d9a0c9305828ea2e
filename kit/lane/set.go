package lane

import (
	"errors"
	"fmt"
	"time"
)

// Set is the lanes of an installation, listed by rank.
type Set []Lane

const day = 24 * time.Hour

// Default is the set Kurir ships with: otp, billing, reminder, bulk.
//
// Reminders and bulk mail are sent again when in doubt: a second copy is a
// small nuisance, a lost one is a lost payment or reader. Bills are held,
// since two of the same invoice are read as two debts.
func Default() Set {
	return Set{
		{
			Name: OTP, Rank: 0, Weight: 8, FloorPercent: 0,
			Ladder: []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 60 * time.Second},
			Expiry: 5 * time.Minute, MinExpiry: 30 * time.Second, MaxExpiry: 30 * time.Minute,
			InDoubt: Resend, Inline: true,
		},
		{
			Name: Billing, Rank: 1, Weight: 4, FloorPercent: 20,
			Ladder: []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour},
			Expiry: 3 * day, MinExpiry: time.Minute, MaxExpiry: 7 * day,
			InDoubt: Hold,
		},
		{
			Name: Reminder, Rank: 2, Weight: 2, FloorPercent: 10,
			Ladder: []time.Duration{time.Minute, 10 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour},
			Expiry: 2 * day, MinExpiry: time.Minute, MaxExpiry: 7 * day,
			InDoubt: Resend,
		},
		{
			Name: Bulk, Rank: 3, Weight: 1, FloorPercent: 5,
			Ladder: []time.Duration{10 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour},
			Expiry: day, MinExpiry: time.Minute, MaxExpiry: 7 * day,
			InDoubt: Resend,
		},
	}
}

// Lookup finds a lane by name.
func (s Set) Lookup(name string) (Lane, bool) {
	for _, l := range s {
		if l.Name == name {
			return l, true
		}
	}
	return Lane{}, false
}

// Names lists the lanes' names in the set's order.
func (s Set) Names() []string {
	names := make([]string, len(s))
	for i, l := range s {
		names[i] = l.Name
	}
	return names
}

// Allowed says whether mail whose kind belongs to lane own may ask for lane
// asked: the same or a lower one. An unknown lane on either side is refused.
func (s Set) Allowed(own, asked string) bool {
	from, ok := s.Lookup(own)
	to, known := s.Lookup(asked)
	return ok && known && to.Rank >= from.Rank
}

// Validate reports every fault of the set, joined; nil when it can be used.
func (s Set) Validate() error {
	if len(s) == 0 {
		return errors.New("lanes: the set is empty")
	}
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	names, floors := map[string]bool{}, 0
	for i, l := range s {
		if names[l.Name] {
			fail("lane %q: listed twice", l.Name)
		}
		names[l.Name] = true
		if i > 0 && l.Rank <= s[i-1].Rank {
			fail("lane %q: rank %d does not follow rank %d of %q: list lanes by rising, unique rank", l.Name, l.Rank, s[i-1].Rank, s[i-1].Name)
		}
		floors += l.FloorPercent
		if err := l.Validate(); err != nil {
			faults = append(faults, err)
		}
	}
	if floors > 100 {
		fail("lanes: floors sum to %d %%, more than 100", floors)
	}
	return errors.Join(faults...)
}

// Validate reports every fault of one lane, joined.
func (l Lane) Validate() error {
	var faults []error
	fail := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("lane %q: "+format, append([]any{l.Name}, args...)...))
	}
	if !validName(l.Name) {
		fail("a name is 1 to 32 of a-z, 0-9 and '-'")
	}
	if l.Weight < 1 {
		fail("weight %d is below 1", l.Weight)
	}
	if l.FloorPercent < 0 || l.FloorPercent > 100 {
		fail("floor_percent %d is not within 0 to 100", l.FloorPercent)
	}
	if len(l.Ladder) == 0 {
		fail("the ladder has no step")
	}
	for i, step := range l.Ladder {
		if step <= 0 {
			fail("ladder step %d is %s, not above 0", i+1, step)
		}
		if i > 0 && step < l.Ladder[i-1] {
			fail("ladder step %d is %s, below the step before it", i+1, step)
		}
	}
	if l.MinExpiry <= 0 || l.Expiry < l.MinExpiry || l.Expiry > l.MaxExpiry {
		fail("expiry %s must lie within min_expiry %s and max_expiry %s, all above 0", l.Expiry, l.MinExpiry, l.MaxExpiry)
	}
	if l.InDoubt != Resend && l.InDoubt != Hold {
		fail("in_doubt is neither resend nor hold")
	}
	return errors.Join(faults...)
}

func validName(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
