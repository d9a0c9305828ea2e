package waiting

import (
	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/crowd"
)

// seats are those of one round, by mail.
type seats struct {
	crowd *crowd.Crowd
	of    map[string]*crowd.Seat
}

// choose gives a mail that begins to leave a seat, the same when asked again.
func (s seats) choose(m Mail) topic.Band {
	if s.of[m.ID] == nil {
		s.of[m.ID] = s.crowd.Choose(m.Lane, m.Tenant)
	}
	return s.of[m.ID].Band()
}

// keep is the seat of a claimed mail: the one that was chosen, or one in the
// band that it had.
func (s seats) keep(m Mail) *crowd.Seat {
	if s.of[m.ID] == nil && m.State == Leaving {
		s.of[m.ID] = s.crowd.Keep(m.Lane, m.Tenant, m.Band)
	}
	return s.of[m.ID]
}

// leave leaves all of them.
func (s seats) leave() {
	for _, seat := range s.of {
		seat.Leave()
	}
}
