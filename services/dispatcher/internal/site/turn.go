package site

import (
	"time"
)

const (
	settling = 2 * time.Second // before the speed of a site without a rate can be told
	slowest  = 0.1             // mails a second: nothing is told of a site that stands still
	// maxTurn bounds a turn that rests on what a site was seen to do, which
	// may change; one by a configured rate is certain.
	maxTurn = 2 * time.Hour
)

// Relieved is a job taken out of a slow site's queue.
type Relieved[T any] struct {
	Job T
	// Turn is when it can probably be sent: when the site has done what stays
	// in its queue and all that was sent away before.
	Turn time.Time
}

// Relieve takes the mail of a lane that a slow site cannot do soon out of the
// site that holds most of it, until the site keeps its share of the lane's
// window; none if that site is not slow. See [queue.Queue.Excess] for which.
// parked says how often a mail was sent away before.
func (s *Sites[T]) Relieve(lane string, parked func(T) int) []Relieved[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	var crowded *site[T]
	most := s.cfg.Queue
	for _, at := range s.sites {
		if n := at.queue.LaneLen(lane); n > most {
			crowded, most = at, n
		}
	}
	now := s.now()
	if crowded == nil {
		return nil
	}
	pace, certain := s.pace(crowded, now)
	if !certain && now.Sub(crowded.since) < settling || seconds(float64(crowded.queue.Len())/pace) < s.cfg.Patience {
		return nil
	}
	jobs := crowded.queue.Excess(lane, s.cfg.Queue, parked)
	turn := now.Add(seconds(float64(crowded.queue.Len()) / pace))
	if crowded.horizon.After(turn) {
		turn = crowded.horizon
	}
	if latest := now.Add(maxTurn); !certain && turn.After(latest) {
		turn = latest
	}
	relieved := make([]Relieved[T], len(jobs))
	for i, job := range jobs {
		turn = turn.Add(seconds(1 / pace))
		relieved[i] = Relieved[T]{job, turn}
	}
	crowded.horizon = turn
	return relieved
}

// Book remembers that mail of a site was sent away until then, by an earlier
// owner of its lane.
func (s *Sites[T]) Book(name string, turn time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !turn.After(s.now()) {
		return
	}
	if at := s.get(name, 0); turn.After(at.horizon) {
		at.horizon = turn
	}
}

// pace is how many mails a second a site takes, and whether that is certain
// rather than seen.
func (s *Sites[T]) pace(at *site[T], now time.Time) (float64, bool) {
	seen := max(at.speed.perSecond(now, now.Sub(at.since)), slowest)
	if rate := s.rate(at); rate > 0 {
		// A site slower than it is allowed to be is as slow as it is.
		if now.Sub(at.since) > speedMemory && seen < rate/2 {
			return seen, false
		}
		return rate, true
	}
	return seen, false
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
