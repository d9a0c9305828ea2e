package machine

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Protocol is a way of dealing that a member supports, and what it says of
// itself in it.
type Protocol struct {
	Name     string `json:"name"`
	Metadata []byte `json:"metadata"`
}

func (m *member) supports(name string) bool {
	return slices.ContainsFunc(m.protocols, func(p Protocol) bool { return p.Name == name })
}

func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// Join is a member's wish to be in the next generation.
type Join struct {
	Ticket Ticket
	// Member is who joins; empty for a new member, which then gets NewID, an id
	// that nobody had before.
	Member, NewID string
	// Announce makes a new member come back with its id before it counts
	// (KIP-394).
	Announce bool
	// Static says that the member brings an instance id (KIP-345).
	Static         bool
	ClientID, Host string
	// Process is that of the coordinator when the member is known to live in it;
	// empty for any other.
	Process      string
	ProtocolType string
	Protocols    []Protocol // the one it likes best first
	// Session and Rebalance are its timeouts. Rebalance is Session when it is
	// not positive.
	Session, Rebalance time.Duration
}

// Join takes a join. It is answered when the round ends, by this or by a later
// event.
func (g *Group) Join(now time.Time, j Join) []Reply {
	if err := g.admit(j); err != nil {
		return []Reply{{Ticket: j.Ticket, Err: err, Joined: Joined{Generation: -1, Member: j.Member}}}
	}
	if j.Rebalance <= 0 {
		j.Rebalance = j.Session
	}
	m, known := g.members[j.Member]
	switch {
	case j.Member == "" && j.Announce:
		g.pending[j.NewID] = now.Add(j.Session)
		return []Reply{{Ticket: j.Ticket, Err: kerr.MemberIDRequired, Joined: Joined{Generation: -1, Member: j.NewID}}}
	case known && g.repeats(m, j):
		m.seen = now
		return []Reply{{Ticket: j.Ticket, Joined: g.joined(m)}}
	case !known:
		m = g.enter(j)
	default:
		g.refuse(m.join, kerr.RebalanceInProgress) // an older request of its own
	}
	m.join, m.seen = j.Ticket, now
	m.clientID, m.host, m.process = j.ClientID, j.Host, j.Process
	m.session, m.rebalance, m.protocols = j.Session, j.Rebalance, j.Protocols
	if len(g.members) == 1 {
		g.protocolType = j.ProtocolType
	}
	g.unsettle(now)
	g.settle(now)
	return g.flush()
}

// admit says why a join must be refused, nil for no reason.
func (g *Group) admit(j Join) *kerr.Error {
	_, known := g.members[j.Member]
	_, promised := g.pending[j.Member]
	switch {
	case g.state == Dead:
		return kerr.CoordinatorNotAvailable
	case j.Static:
		return kerr.UnsupportedVersion // as a broker older than KIP-345 answers
	case j.Session < g.cfg.MinSession || j.Session > g.cfg.MaxSession:
		return kerr.InvalidSessionTimeout
	case j.Member != "" && !known && !promised:
		return kerr.UnknownMemberID
	case !g.compatible(j):
		return kerr.InconsistentGroupProtocol
	case j.Member == "" && g.cfg.MaxMembers > 0 && len(g.members)+len(g.pending) >= g.cfg.MaxMembers:
		return kerr.GroupMaxSizeReached
	default:
		return nil
	}
}

// compatible says whether the joiner and the other members have a protocol in
// common.
func (g *Group) compatible(j Join) bool {
	if j.ProtocolType == "" || len(j.Protocols) == 0 {
		return false
	}
	others := make([]*member, 0, len(g.members))
	for id, m := range g.members {
		if id != j.Member {
			others = append(others, m)
		}
	}
	if len(others) == 0 {
		return true
	}
	return j.ProtocolType == g.protocolType && slices.ContainsFunc(j.Protocols, func(p Protocol) bool {
		return !slices.ContainsFunc(others, func(m *member) bool { return !m.supports(p.Name) })
	})
}

// repeats says whether a member joins the generation it is in: because it did
// not read the answer, or without news. A leader that joins a stable group
// wants to deal anew.
func (g *Group) repeats(m *member, j Join) bool {
	same := slices.EqualFunc(m.protocols, j.Protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && slices.Equal(a.Metadata, b.Metadata)
	})
	return same && (g.state == Completing || g.state == Stable && m.id != g.leader)
}

// enter makes the joiner a member.
func (g *Group) enter(j Join) *member {
	m := &member{id: j.Member, age: g.joins}
	if j.Member == "" {
		m.id, m.nameless = j.NewID, true
	}
	g.joins++
	delete(g.pending, m.id)
	g.members[m.id] = m
	return m
}

// Sync is a member's wish for its share; the leader brings everyone's.
type Sync struct {
	Ticket                 Ticket
	Member                 string
	Generation             int32
	ProtocolType, Protocol string // empty where the version does not say
	Assignments            map[string][]byte
}

// Sync takes a sync. It is answered when the leader has dealt and the deal is
// saved, by a later event if that was not before.
func (g *Group) Sync(now time.Time, s Sync) []Reply {
	m, err := g.current(s.Member, s.Generation)
	switch {
	case err != nil:
	case g.state == Preparing:
		m.seen, err = now, kerr.RebalanceInProgress
	case s.ProtocolType != "" && s.ProtocolType != g.protocolType, s.Protocol != "" && s.Protocol != g.protocol:
		err = kerr.InconsistentGroupProtocol
	}
	if err != nil {
		return []Reply{{Ticket: s.Ticket, Err: err}}
	}
	g.refuse(m.sync, kerr.RebalanceInProgress) // an older request of its own
	m.seen, m.sync, m.synced = now, s.Ticket, true
	if g.state == Completing && m.id == g.leader {
		for id, other := range g.members {
			other.assignment = s.Assignments[id]
		}
		g.draft = g.draw()
	}
	if g.state == Stable {
		g.deal(now)
	}
	return g.flush()
}

// deal answers those who wait for their share. The deadline stands until
// everyone has asked for it.
func (g *Group) deal(now time.Time) {
	all := true
	for _, m := range g.byAge() {
		if m.sync != 0 {
			g.reply(Reply{Ticket: m.sync, Synced: Synced{
				ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment,
			}})
			m.sync, m.seen = 0, now
		}
		all = all && m.synced
	}
	if all {
		g.deadline = time.Time{}
	}
}

// Heartbeat takes a sign of life: nil, RebalanceInProgress when the member
// shall join again, or that it is no member of this generation.
func (g *Group) Heartbeat(now time.Time, id string, generation int32) *kerr.Error {
	m, err := g.current(id, generation)
	if err != nil {
		return err
	}
	m.seen = now
	if g.state == Preparing {
		return kerr.RebalanceInProgress
	}
	return nil
}

// Leave removes a member, or forgets an id that was given and not used.
func (g *Group) Leave(now time.Time, id string) ([]Reply, *kerr.Error) {
	if _, ok := g.pending[id]; ok {
		delete(g.pending, id)
		return nil, nil
	}
	m, ok := g.members[id]
	if !ok {
		return nil, kerr.UnknownMemberID
	}
	g.depart(now, m)
	return g.flush(), nil
}

// Abandon says that nobody waits for the answer under t any more. The member's
// session timeout runs from now; one that was never told its id is removed.
func (g *Group) Abandon(now time.Time, t Ticket) []Reply {
	for _, m := range g.members {
		switch t {
		case m.join:
			m.join, m.seen = 0, now
			if m.nameless {
				g.depart(now, m)
			}
			return g.flush()
		case m.sync:
			m.sync, m.seen = 0, now
			return nil
		}
	}
	return nil
}

// Commit says whether a commit may be taken: from a member of the current
// generation unless it has yet to be dealt, and with a negative generation and
// no member from anyone while the group is empty. It is a sign of life.
func (g *Group) Commit(now time.Time, id string, generation int32) *kerr.Error {
	switch {
	case g.state == Dead:
		return kerr.CoordinatorNotAvailable
	case generation < 0 && g.state == Empty:
		return nil
	case generation < 0 && id == "":
		return kerr.UnknownMemberID
	}
	m, err := g.current(id, generation)
	if err != nil {
		return err
	}
	m.seen = now
	if g.state == Completing {
		return kerr.RebalanceInProgress
	}
	return nil
}

// current finds a member of the current generation.
func (g *Group) current(id string, generation int32) (*member, *kerr.Error) {
	m, ok := g.members[id]
	switch {
	case g.state == Dead:
		return nil, kerr.CoordinatorNotAvailable
	case !ok:
		return nil, kerr.UnknownMemberID
	case generation != g.generation:
		return nil, kerr.IllegalGeneration
	default:
		return m, nil
	}
}
