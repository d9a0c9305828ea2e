package crowd

import "kurir.dev/kit/topic"

// Seat is one mail's place in a band. It counts from the beginning, while the
// mail is under way to the broker, until it is left or what landed is done.
// The zero Seat is in the ordinary band and counts nowhere. Safe for concurrent
// use.
type Seat struct {
	band   topic.Band
	crowd  *Crowd
	lane   *lane // nil: it does not count
	tenant string
	waits  bool // guarded by lane.mu
}

// Band is where the mail belongs.
func (s *Seat) Band() topic.Band { return s.band }

// Landed says where the mail's record lies. It counts until it is done, also
// when the seat was left before.
func (s *Seat) Landed(partition int, offset int64) {
	if s.lane == nil {
		return
	}
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	t := s.lane.join(s.tenant)
	s.lane.land(partition, record{offset: offset, tenant: t})
	s.leave()
	select {
	case s.crowd.signal <- struct{}{}:
	default:
	}
}

// Leave says that nobody waits any more for the mail to land. It may be called
// however often.
func (s *Seat) Leave() {
	if s.lane == nil {
		return
	}
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	s.leave()
}

// leave is Leave; lane.mu is held.
func (s *Seat) leave() {
	if s.waits {
		s.waits = false
		s.lane.part(s.lane.tenants[s.tenant])
	}
}
