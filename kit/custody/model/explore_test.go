package model

import (
	"flag"
	"testing"
	"time"
)

var (
	flagMails   = flag.Int("mails", 1, "mails in the world; every second is held when in doubt")
	flagParts   = flag.Int("partitions", 1, "partitions of the lane")
	flagMembers = flag.Int("dispatchers", 2, "dispatchers in the group")
	flagFaults  = flag.Int("faults", 1, "faults in one history")
	flagHold    = flag.Bool("hold", false, "hold all of them")
	flagRepeats = flag.Bool("repeats", true, "lane records may be told twice")
	flagDepth   = flag.Int("depth", 0, "steps from the beginning; 0 for all")
	flagWorlds  = flag.Int("worlds", 0, "states to visit; 0 for all")
)

// base is a world of two dispatchers and a mail that is sent again when in
// doubt, which one fault may befall.
func base() rules {
	return rules{dispatchers: 2, partitions: 1, mails: 1, attempts: 2, faults: 1, rewind: 1 << 20, hold: []bool{false, true}, repeats: true}
}

// Nothing is lost and nothing goes out twice outside the window, whatever
// happens in the world the flags describe.
func TestExplore(t *testing.T) {
	t.Parallel()
	r := base()
	r.mails, r.partitions, r.dispatchers, r.faults = *flagMails, *flagParts, *flagMembers, *flagFaults
	r.repeats = *flagRepeats
	if *flagHold {
		r.hold = []bool{true}
	}
	check(t, r, *flagDepth, *flagWorlds)
}

func check(t *testing.T, r rules, depth, worlds int) {
	t.Helper()
	start := time.Now()
	got := explore(&r, depth, worlds)
	t.Logf("%d worlds, %d steps, %d deep, all there are: %v, in %v", got.worlds, got.steps, got.depth, got.whole, time.Since(start).Round(time.Millisecond))
	if got.finding != nil {
		t.Error(got.finding)
	}
}

// Other worlds, each small enough to be walked through whole or nearly so.
func TestWorlds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*rules)
		worlds int
	}{
		{"held when in doubt", func(r *rules) { r.hold = []bool{true} }, 0},
		{"nothing is told twice, no rewind", func(r *rules) { r.rewind, r.repeats = 0, false }, 0},
		{"deaths", func(r *rules) { r.faults, r.repeats, r.calm = 2, false, true }, 8_000},
		{"two partitions", func(r *rules) { r.mails, r.partitions, r.repeats = 2, 2, false }, 8_000},
		{"two mails", func(r *rules) { r.mails, r.repeats = 2, false }, 8_000},
		{"two faults, held", func(r *rules) { r.faults, r.repeats, r.hold = 2, false, []bool{true} }, 8_000},
		{"two faults", func(r *rules) { r.faults, r.repeats = 2, false }, 8_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := base()
			tt.change(&r)
			check(t, r, 0, tt.worlds)
		})
	}
}

// Each breakage of the protocol is found.
func TestBreakages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		how    breakage
		change func(*rules)
	}{
		{completeAtDot, nil},
		{noFencing, nil},
		{noRecovery, nil},
		{recoverTail, nil},
		{deferEarly, nil},
		{deferWithout, nil},
		{deferralWins, func(r *rules) { r.faults, r.repeats, r.calm = 2, false, true }},
		{deferralTakes, func(r *rules) { r.faults, r.repeats, r.hold = 2, false, []bool{true} }},
		{deferralStays, func(r *rules) { r.faults, r.repeats, r.hold = 2, false, []bool{true} }},
		{debtWins, func(r *rules) { r.faults, r.repeats, r.hold = 2, false, []bool{true} }},
		{noLeaseCheck, nil},
		{noSecondCheck, func(r *rules) { r.hold = []bool{true} }},
		{noLimit, func(r *rules) { r.dispatchers, r.faults, r.rewind, r.repeats, r.hold = 1, 2, 0, false, []bool{true} }},
		{triedUntold, nil},
		{cleanAlways, nil},
		{sameAttempt, nil},
		{forgetDeparted, func(r *rules) { r.dispatchers, r.rewind, r.repeats = 1, 0, false }},
		{toldLate, func(r *rules) { r.rewind = 0 }},
		{coverUndone, nil},
		{commitUnread, nil},
		{doubtSentAgain, func(r *rules) { r.hold = []bool{true} }},
		{forgetFirst, nil},
	} {
		t.Run(string(tt.how), func(t *testing.T) {
			t.Parallel()
			r := base()
			r.break_ = tt.how
			if tt.change != nil {
				tt.change(&r)
			}
			got := explore(&r, 0, *flagWorlds)
			if got.finding == nil {
				t.Fatalf("%d worlds, all there are: %v, and nothing is found", got.worlds, got.whole)
			}
			t.Log(got.finding)
		})
	}
}
