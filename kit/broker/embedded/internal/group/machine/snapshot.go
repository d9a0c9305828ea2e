package machine

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Snapshot is a generation as it was dealt: what a coordinator must know to go
// on with it after a restart. One without members says that the group is empty.
// It is not changed once it is handed out.
type Snapshot struct {
	Generation   int32   `json:"generation"`
	ProtocolType string  `json:"protocol_type"`
	Protocol     string  `json:"protocol"`
	Leader       string  `json:"leader"`
	Members      []Saved `json:"members"` // oldest first
}

// Saved is a member in a snapshot.
type Saved struct {
	ID         string        `json:"id"`
	ClientID   string        `json:"client_id"`
	Host       string        `json:"host"`
	Process    string        `json:"process,omitempty"` // of the coordinator, if it lived in that
	Session    time.Duration `json:"session"`
	Rebalance  time.Duration `json:"rebalance"`
	Protocols  []Protocol    `json:"protocols"`
	Assignment []byte        `json:"assignment"`
}

// errSnapshot is the error of a snapshot that no machine made.
var errSnapshot = errors.New("members of the group contradict each other")

// Restore is a stable group as the snapshot has it, with sessions that begin
// now: a member that lives need not notice, and one that died while nobody
// looked is removed in its time. The next generation is greater than floor and
// than that of the snapshot.
func Restore(now time.Time, cfg Config, floor int32, s *Snapshot) (*Group, error) {
	g := New(cfg, floor)
	g.state, g.kept, g.generation = Stable, true, s.Generation
	g.protocolType, g.protocol, g.leader = s.ProtocolType, s.Protocol, s.Leader
	for _, m := range s.Members {
		if m.ID == "" || m.Session <= 0 {
			return nil, errSnapshot
		}
		g.members[m.ID] = &member{
			id: m.ID, clientID: m.ClientID, host: m.Host, process: m.Process, age: g.joins, session: m.Session, rebalance: m.Rebalance,
			protocols: m.Protocols, seen: now, synced: true, assignment: m.Assignment,
		}
		g.joins++
	}
	if _, ok := g.members[s.Leader]; !ok || len(g.members) != len(s.Members) || !g.common(s.Protocol) {
		return nil, errSnapshot
	}
	return g, nil
}

// Unsaved is what the journal must hold next, nil when it need not change. The
// caller asks after each event, writes what it gets in the order in which it
// gets it, and says by [Group.Saved] what became of it.
func (g *Group) Unsaved() *Snapshot {
	s := g.unsaved
	g.unsaved = nil
	return s
}

// Saved says whether a snapshot is on disk. A deal that is gets told. One that
// is not, or may be, is not: those who wait are to ask again, and the leader
// deals again then.
func (g *Group) Saved(now time.Time, s *Snapshot, ok bool) []Reply {
	if s != g.draft {
		return nil // overtaken
	}
	g.draft = nil
	if ok {
		g.state = Stable
		g.deal(now)
		return g.flush()
	}
	for _, m := range g.byAge() {
		if m.sync != 0 {
			g.reply(Reply{Ticket: m.sync, Err: kerr.CoordinatorNotAvailable})
			m.sync, m.seen = 0, now
		}
		m.synced = false
	}
	g.deadline = now.Add(g.patience())
	return g.flush()
}

// draw makes a snapshot of the generation as it stands, to be saved next.
func (g *Group) draw() *Snapshot {
	s := &Snapshot{Generation: g.generation, ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader}
	for _, m := range g.byAge() {
		s.Members = append(s.Members, Saved{
			ID: m.id, ClientID: m.clientID, Host: m.host, Process: m.process, Session: m.session, Rebalance: m.rebalance,
			Protocols: m.protocols, Assignment: m.assignment,
		})
	}
	g.unsaved, g.kept = s, len(s.Members) > 0
	return s
}
