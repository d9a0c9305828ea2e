package machine

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// State is where a group stands.
type State uint8

// The states of a group; see the package's diagram.
const (
	Empty      State = iota // no members
	Preparing               // waiting for the members to join
	Completing              // waiting for the leader to deal
	Stable                  // dealt
	Dead                    // ended; the machine is of no more use
)

// String is the state's name in the protocol.
func (s State) String() string {
	switch s {
	case Empty:
		return "Empty"
	case Preparing:
		return "PreparingRebalance"
	case Completing:
		return "CompletingRebalance"
	case Stable:
		return "Stable"
	case Dead:
		return "Dead"
	default:
		return "Unknown"
	}
}

// Config bounds a group.
type Config struct {
	// MinSession and MaxSession bound the members' session timeouts.
	MinSession, MaxSession time.Duration
	// InitialDelay is how long an empty group waits for more members before it
	// ends its first round.
	InitialDelay time.Duration
	// MaxMembers bounds the members, the ids given and not used included; 0
	// means no bound.
	MaxMembers int
}

// Ticket names a waiting request. The caller chooses it, never 0 and never
// twice.
type Ticket uint64

// Reply answers the request that waits under Ticket: a join by Joined, a sync
// by Synced, either by Err.
type Reply struct {
	Ticket Ticket
	Err    *kerr.Error // nil when it went well
	Joined Joined
	Synced Synced
}

// Joined is the answer to a join. With the error MemberIDRequired it carries
// the member id alone.
type Joined struct {
	Generation             int32
	ProtocolType, Protocol string
	Leader, Member         string
	Members                []Subscription // the leader is told; nil for the others
}

// Subscription is what a member said of itself, in the protocol that was
// chosen.
type Subscription struct {
	Member   string
	Metadata []byte
}

// Synced is the answer to a sync.
type Synced struct {
	ProtocolType, Protocol string
	Assignment             []byte
}

// Group is one consumer group. It is not safe for concurrent use.
type Group struct {
	cfg        Config
	state      State
	generation int32
	floor      int32 // the generations of this run are greater

	protocolType, protocol, leader string

	members map[string]*member
	joins   uint64               // numbers the members by age
	pending map[string]time.Time // ids given and not used, and when each is forgotten

	notBefore time.Time // Preparing: the round does not end earlier
	deadline  time.Time // when those who did not join or sync are removed; zero when all did

	draft   *Snapshot // Completing: the deal, until it is saved; nil before the leader dealt
	unsaved *Snapshot // not handed out yet
	kept    bool      // the journal may know members

	replies []Reply // of the event under way
}

type member struct {
	id, clientID, host string
	process            string
	age                uint64
	session, rebalance time.Duration
	protocols          []Protocol
	seen               time.Time // last sign of life
	join, sync         Ticket    // what waits; 0 for nothing
	synced             bool      // sent its sync in this generation
	nameless           bool      // does not know its id before its join is answered
	assignment         []byte
}

// waits says whether a request of the member waits for an answer.
func (m *member) waits() bool { return m.join != 0 || m.sync != 0 }

// New is an empty group whose generations are greater than the given one.
func New(cfg Config, generation int32) *Group {
	return &Group{
		cfg: cfg, generation: generation, floor: generation,
		members: make(map[string]*member), pending: make(map[string]time.Time),
	}
}

// State is where the group stands.
func (g *Group) State() State { return g.state }

// Generation is the number of the last generation.
func (g *Group) Generation() int32 { return g.generation }

// Idle says that the group has no members and has promised no ids.
func (g *Group) Idle() bool { return g.state == Empty && len(g.pending) == 0 }

// End makes an empty group dead; it returns NonEmptyGroup when there are
// members. Ids that were promised are forgotten.
func (g *Group) End() *kerr.Error {
	switch g.state {
	case Empty, Dead:
		g.state = Dead
		clear(g.pending)
		return nil
	default:
		return kerr.NonEmptyGroup
	}
}

// Member describes a member.
type Member struct {
	ID, ClientID, Host   string
	Metadata, Assignment []byte // nil while the group is not stable
}

// View describes a group.
type View struct {
	State                  State
	ProtocolType, Protocol string
	Members                []Member // oldest first
}

// View describes the group as it stands.
func (g *Group) View() View {
	v := View{State: g.state, ProtocolType: g.protocolType}
	if g.state == Stable {
		v.Protocol = g.protocol
	}
	for _, m := range g.byAge() {
		d := Member{ID: m.id, ClientID: m.clientID, Host: m.host}
		if g.state == Stable {
			d.Metadata, d.Assignment = m.metadata(g.protocol), m.assignment
		}
		v.Members = append(v.Members, d)
	}
	return v
}

// Metadata is all that the members said of themselves, in any protocol.
func (g *Group) Metadata() [][]byte {
	var all [][]byte
	for _, m := range g.byAge() {
		for _, p := range m.protocols {
			all = append(all, p.Metadata)
		}
	}
	return all
}

// Next is when Tick has something to do unless an event comes first; zero for
// never.
func (g *Group) Next() time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, until := range g.pending {
		sooner(until)
	}
	for _, m := range g.members {
		if !m.waits() {
			sooner(m.seen.Add(m.session))
		}
	}
	if !g.deadline.IsZero() {
		sooner(g.deadline)
	}
	if g.state == Preparing && g.complete() {
		sooner(g.notBefore)
	}
	return next
}

// Tick removes those whose time is up and ends a round that is due.
func (g *Group) Tick(now time.Time) []Reply {
	for id, until := range g.pending {
		if !now.Before(until) {
			delete(g.pending, id)
		}
	}
	for _, m := range g.byAge() {
		if !m.waits() && !now.Before(m.seen.Add(m.session)) {
			g.remove(m)
			g.unsettle(now)
		}
	}
	if !g.deadline.IsZero() && !now.Before(g.deadline) {
		g.overdue(now)
	}
	g.settle(now)
	return g.flush()
}

// overdue removes the members that held up the round until its deadline.
func (g *Group) overdue(now time.Time) {
	g.deadline = time.Time{}
	var late []*member
	for _, m := range g.byAge() {
		if g.state == Preparing && m.join == 0 || g.state != Preparing && !m.synced {
			late = append(late, m)
		}
	}
	for _, m := range late {
		g.remove(m)
		g.unsettle(now)
	}
}

// byAge lists the members, oldest first.
func (g *Group) byAge() []*member {
	return slices.SortedFunc(maps.Values(g.members), func(a, b *member) int { return int(a.age) - int(b.age) })
}

func (g *Group) reply(r Reply) { g.replies = append(g.replies, r) }

// refuse answers what waits under t, if anything does.
func (g *Group) refuse(t Ticket, err *kerr.Error) {
	if t != 0 {
		g.reply(Reply{Ticket: t, Err: err})
	}
}

// flush hands out the answers of the event.
func (g *Group) flush() []Reply {
	r := g.replies
	g.replies = nil
	return r
}
