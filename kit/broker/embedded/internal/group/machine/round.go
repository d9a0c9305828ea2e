package machine

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// unsettle begins a new round, unless one has begun. Those who wait for the
// deal are told to join again.
func (g *Group) unsettle(now time.Time) {
	if g.state == Preparing || g.state == Dead {
		return
	}
	g.notBefore = now
	if g.state == Empty {
		g.notBefore = now.Add(g.cfg.InitialDelay)
	}
	g.state, g.draft, g.unsaved = Preparing, nil, nil
	for _, m := range g.byAge() {
		g.refuse(m.sync, kerr.RebalanceInProgress)
		if m.sync != 0 {
			m.seen = now
		}
		m.sync, m.synced, m.assignment = 0, false, nil
	}
	g.deadline = now.Add(g.patience())
	if g.deadline.Before(g.notBefore) {
		g.deadline = g.notBefore
	}
}

// patience is the longest rebalance timeout of the members.
func (g *Group) patience() time.Duration {
	var longest time.Duration
	for _, m := range g.members {
		longest = max(longest, m.rebalance)
	}
	return longest
}

// complete says whether all members of the round have joined.
func (g *Group) complete() bool {
	for _, m := range g.members {
		if m.join == 0 {
			return false
		}
	}
	return true
}

// settle ends the round if it is due: with a new generation, or empty when
// nobody is left.
func (g *Group) settle(now time.Time) {
	if g.state != Preparing || !g.complete() || now.Before(g.notBefore) && len(g.members) > 0 {
		return
	}
	g.generation = max(g.generation, g.floor) + 1
	if len(g.members) == 0 {
		g.state, g.deadline = Empty, time.Time{}
		g.protocolType, g.protocol, g.leader = "", "", ""
		if g.kept {
			g.draw()
		}
		return
	}
	g.protocol = g.vote()
	if _, ok := g.members[g.leader]; !ok {
		g.leader = g.byAge()[0].id
	}
	g.state, g.deadline = Completing, now.Add(g.patience())
	for _, m := range g.byAge() {
		g.reply(Reply{Ticket: m.join, Joined: g.joined(m)})
		m.join, m.seen, m.nameless = 0, now, false
	}
}

// joined is what a member is told of the generation.
func (g *Group) joined(m *member) Joined {
	j := Joined{
		Generation: g.generation, ProtocolType: g.protocolType, Protocol: g.protocol,
		Leader: g.leader, Member: m.id,
	}
	if m.id == g.leader {
		for _, other := range g.byAge() {
			j.Members = append(j.Members, Subscription{Member: other.id, Metadata: other.metadata(g.protocol)})
		}
	}
	return j
}

// vote chooses the protocol: of those that every member supports the one that
// most members like best; the first named wins a tie.
func (g *Group) vote() string {
	votes := make(map[string]int)
	members := g.byAge()
	for _, m := range members {
		for _, p := range m.protocols {
			if g.common(p.Name) {
				votes[p.Name]++
				break
			}
		}
	}
	var best string
	for _, p := range members[0].protocols {
		if votes[p.Name] > votes[best] {
			best = p.Name
		}
	}
	return best
}

// common says whether every member supports the protocol.
func (g *Group) common(name string) bool {
	for _, m := range g.members {
		if !m.supports(name) {
			return false
		}
	}
	return true
}

// remove takes a member out and refuses what it waits for. The caller looks
// after the round.
func (g *Group) remove(m *member) {
	delete(g.members, m.id)
	g.refuse(m.join, kerr.UnknownMemberID)
	g.refuse(m.sync, kerr.UnknownMemberID)
	m.join, m.sync = 0, 0
}

// depart removes a member and lets the others deal anew.
func (g *Group) depart(now time.Time, m *member) {
	g.remove(m)
	g.unsettle(now)
	g.settle(now)
}
