package offsets

import "math"

// Key names a committed offset.
type Key struct {
	Group, Topic string
	Partition    int32
}

// Commit is how far a group has come on a partition.
type Commit struct {
	Offset      int64
	LeaderEpoch int32  // -1 when not known
	Metadata    string // at most MaxMetadata bytes
	At          int64  // Unix milliseconds
}

// Entry is a commit and what it is of.
type Entry struct {
	Key
	Commit
}

// part is a partition of a topic.
type part struct {
	topic string
	id    int32
}

// state is what the journal means.
type state struct {
	groups  map[string]map[part]Commit
	deals   map[string]string // by group, of those with members
	ceiling int32
}

func newState() state {
	return state{groups: make(map[string]map[part]Commit), deals: make(map[string]string)}
}

// apply makes the change that r records.
func (s *state) apply(r record) {
	switch r.kind {
	case put:
		g := s.groups[r.key.Group]
		if g == nil {
			g = make(map[part]Commit)
			s.groups[r.key.Group] = g
		}
		g[part{r.key.Topic, r.key.Partition}] = r.commit
	case dropPart:
		delete(s.groups[r.key.Group], part{r.key.Topic, r.key.Partition})
		s.tidy(r.key.Group)
	case dropGroup:
		delete(s.groups, r.key.Group)
		delete(s.deals, r.key.Group)
	case members:
		s.deals[r.key.Group] = r.deal
		if r.deal == "" {
			delete(s.deals, r.key.Group)
		}
	case dropTopic:
		for name, g := range s.groups {
			for p := range g {
				if p.topic == r.key.Topic {
					delete(g, p)
				}
			}
			s.tidy(name)
		}
	case ceiling:
		s.ceiling = max(s.ceiling, min(r.height, math.MaxInt32))
	}
}

// tidy forgets a group that has no commits left.
func (s *state) tidy(group string) {
	if len(s.groups[group]) == 0 {
		delete(s.groups, group)
	}
}

// records are the fewest that make the state.
func (s *state) records(yield func(record) bool) {
	if !yield(record{kind: ceiling, height: s.ceiling}) {
		return
	}
	for name, deal := range s.deals {
		if !yield(record{kind: members, key: Key{Group: name}, deal: deal}) {
			return
		}
	}
	for name, g := range s.groups {
		for p, c := range g {
			if !yield(record{kind: put, key: Key{Group: name, Topic: p.topic, Partition: p.id}, commit: c}) {
				return
			}
		}
	}
}
