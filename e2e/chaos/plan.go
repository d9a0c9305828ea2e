package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// What can be struck: the processes, and the wires between them.
const (
	composer    = "composer"
	router      = "router"
	dispatcher1 = "dispatcher1"
	dispatcher2 = "dispatcher2"
	tracker     = "tracker"
	brokerName  = "broker"
)

// services are the processes beside the broker, in their order of start.
func services() []string { return []string{tracker, router, dispatcher1, dispatcher2, composer} }

// wires are the connections that can be cut, as "from>to".
func wires() []string {
	return []string{
		composer + ">" + router, tracker + ">" + router, router + ">" + brokerName,
		dispatcher1 + ">" + brokerName, dispatcher2 + ">" + brokerName, tracker + ">" + brokerName,
	}
}

// Act is what a fault does.
type Act string

// The acts.
const (
	Kill    Act = "kill -9"         // undone by starting it again
	KillTwo Act = "kill -9 of both" // dispatchers at once
	Restart Act = "restart"         // in good order
	Freeze  Act = "freeze"          // SIGSTOP for longer than the session: a zombie
	Drop    Act = "drop"            // a wire: reset, and reset again
	Refuse  Act = "refuse"          // a wire: nobody listens
	Silence Act = "silence"         // a wire: half-open, no byte comes through
)

// cuts says whether the act is one on a wire.
func (a Act) cuts() bool { return a == Drop || a == Refuse || a == Silence }

// Fault is one stroke of the plan.
type Fault struct {
	// At is when it strikes, counted from the start of the storm.
	At time.Duration
	// Last is after how long it is undone.
	Last time.Duration
	// Act is what it does, Target to whom.
	Act    Act
	Target string
}

// String is a line of the plan.
func (f Fault) String() string {
	return fmt.Sprintf("%8s  %s %s for %s", f.At.Round(time.Millisecond), f.Act, f.Target, f.Last.Round(time.Millisecond))
}

// kills is how many processes the fault kills.
func (f Fault) kills() int {
	switch f.Act {
	case Kill:
		return 1
	case KillTwo:
		return 2
	default:
		return 0
	}
}

// session is after how long of silence a dispatcher is taken over from.
const session = 3 * time.Second

// deck holds each fault as often as it comes among some twenty. Plans shuffle
// one deck after the other, so that nothing is spared for long.
func deck() []Fault {
	var cards []Fault
	add := func(n int, act Act, target string) {
		for range n {
			cards = append(cards, Fault{Act: act, Target: target})
		}
	}
	add(2, Kill, composer)
	add(3, Kill, router)
	add(3, Kill, dispatcher1)
	add(3, Kill, dispatcher2)
	add(2, Kill, tracker)
	add(2, Kill, brokerName)
	add(1, KillTwo, dispatcher1+"+"+dispatcher2)
	add(1, Restart, brokerName)
	add(1, Freeze, dispatcher1)
	add(1, Freeze, dispatcher2)
	for _, act := range []Act{Drop, Refuse, Silence} {
		add(1, act, "")
	}
	return cards
}

// NewPlan makes the faults of a seed, by time, with so many kills among them:
// the same seed and number make the same plan.
func NewPlan(seed uint64, kills int) []Fault {
	rnd := rand.New(rand.NewPCG(seed, 1))
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(rnd.Int64N(int64(high-low))) }
	var plan []Fault
	var at time.Duration
	free := map[string]time.Duration{} // when a target stands again
	for left := kills; left > 0; {
		cards := deck()
		rnd.Shuffle(len(cards), func(a, b int) { cards[a], cards[b] = cards[b], cards[a] })
		for _, f := range cards {
			if left <= 0 {
				break
			}
			f.Last = pause(rnd, f.Act)
			if f.Act.cuts() {
				f.Target = wires()[rnd.IntN(len(wires()))]
			}
			at += between(100*time.Millisecond, 2*time.Second)
			targets := strings.Split(f.Target, "+")
			for _, target := range targets {
				at = max(at, free[target])
			}
			for _, target := range targets {
				free[target] = at + f.Last + 50*time.Millisecond
			}
			f.At = at
			left -= f.kills()
			plan = append(plan, f)
		}
	}
	return plan
}

// pause is how long a fault lasts. Half of the killed start again at once.
func pause(rnd *rand.Rand, act Act) time.Duration {
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(rnd.Int64N(int64(high-low))) }
	switch act {
	case Freeze:
		return between(session+time.Second, 2*session)
	case Drop, Refuse, Silence:
		return between(300*time.Millisecond, 2*session)
	case Restart:
		return 0
	default:
		if rnd.IntN(2) == 0 {
			return 0
		}
		return between(100*time.Millisecond, 4*time.Second)
	}
}

// step is the beginning or the end of a fault.
type step struct {
	at    time.Duration
	fault int // in the plan
	undo  bool
}

// steps are the beginnings and ends of the plan's faults, by time.
func steps(plan []Fault) []step {
	var all []step
	for i, f := range plan {
		all = append(all, step{f.At, i, false}, step{f.At + f.Last, i, true})
	}
	slices.SortStableFunc(all, func(a, b step) int { return int(a.at - b.at) })
	return all
}
