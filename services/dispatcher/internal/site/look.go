package site

import (
	"cmp"
	"slices"
	"time"

	"kurir.dev/services/dispatcher/internal/session"
)

// Info is a site as it stands.
type Info struct {
	Name string
	// Queued mails by lane.
	Queued map[string]int64
	// Connections open, and the most there may be.
	Connections, Limit int
	// Tally since the start.
	Tally Tally
	// Suspended until then; zero when it is not.
	Suspended time.Time
	// LastError is the last reply that was no success.
	LastError string
	// Hosts were last seen.
	Hosts []Host
}

// Connection is one session.
type Connection struct {
	ID, Site string
	session.Info
	Busy bool
}

// List shows the sites, the busiest first; limit 0 means all.
func (s *Sites[T]) List(limit int) []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	type weighed struct {
		at     *site[T]
		weight int
	}
	all := make([]weighed, 0, len(s.sites))
	for _, at := range s.sites {
		all = append(all, weighed{at, at.queue.Len() + at.workers})
	}
	slices.SortFunc(all, func(a, b weighed) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.at.name, b.at.name))
	})
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	infos := make([]Info, len(all))
	for i, a := range all {
		infos[i] = s.info(a.at)
	}
	return infos
}

// Get shows one site.
func (s *Sites[T]) Get(name string) (Info, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.sites[name]
	if !ok {
		return Info{}, false
	}
	return s.info(at), true
}

func (s *Sites[T]) info(at *site[T]) Info {
	info := Info{
		Name: at.name, Queued: map[string]int64{}, Limit: s.limit(at),
		Tally: at.tally, LastError: at.lastError, Hosts: slices.Clone(at.hosts),
	}
	at.queue.Lanes(func(name string, waiting int) { info.Queued[name] = int64(waiting) })
	for _, w := range at.crew {
		if w.conn != nil {
			info.Connections++
		}
	}
	if at.suspended.After(s.now()) {
		info.Suspended = at.suspended
	}
	return info
}

// Connections lists the sessions of a site, or of all for "", the oldest
// first.
func (s *Sites[T]) Connections(name string) []Connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Connection
	for _, at := range s.sites {
		if name != "" && at.name != name {
			continue
		}
		for _, w := range at.crew {
			if w.conn != nil {
				all = append(all, Connection{ID: w.ID(), Site: at.name, Info: w.conn.Info(), Busy: w.busy})
			}
		}
	}
	slices.SortFunc(all, func(a, b Connection) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Load is how busy the sites are.
type Load struct {
	// InFlight are the deliveries under way, by lane.
	InFlight map[string]int
	// Reserved connections in use, of all sites: those that only the highest
	// lane could take.
	Reserved int
}

// Load looks at all sites.
func (s *Sites[T]) Load() Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := Load{InFlight: make(map[string]int, len(s.lanes))}
	for name, b := range s.budgets {
		l.InFlight[name] = b.size - b.free
	}
	for _, at := range s.sites {
		reserved := s.reserved(at)
		l.Reserved += max(min(at.busy-(s.limit(at)-reserved), reserved, at.busy-at.low), 0)
	}
	return l
}

// Idle counts the workers that wait for mail with a connection in hand.
func (s *Sites[T]) Idle() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.idle
}

// Open counts the connections.
func (s *Sites[T]) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := 0
	for _, at := range s.sites {
		for _, w := range at.crew {
			if w.conn != nil {
				open++
			}
		}
	}
	return open
}

// Shut asks for a connection to be closed after its mail; false when there is
// none of that id.
func (s *Sites[T]) Shut(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.sites {
		for _, w := range at.crew {
			if w.ID() == id && w.conn != nil {
				w.shut = true
				if i := slices.Index(at.idle, w); i >= 0 {
					s.unrest(at, i)
					close(w.hand)
				}
				return true
			}
		}
	}
	return false
}

// Suspend stops a site until then and gives back what waited for it; the zero
// time lets it go on. False when there is no such site.
func (s *Sites[T]) Suspend(name string, until time.Time) ([]T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.sites[name]
	if !ok {
		return nil, false
	}
	at.suspended = until
	var jobs []T
	if until.After(s.now()) {
		for _, l := range s.lanes {
			jobs = append(jobs, at.queue.Drain(l.Name)...)
		}
		s.tend(at)
	}
	return jobs, true
}
