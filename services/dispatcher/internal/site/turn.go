package site

import (
	"cmp"
	"slices"
	"time"
)

const (
	settling = 2 * time.Second // before the pace of a site without a rate can be told
	slowest  = 0.1             // mails a second: nothing is told of a site that stands still
	// limited is how many times sooner than its patience a site counts as slow
	// that a rate holds back: no luck will make it faster.
	limited = 10
	// standstill is how long a site must be expected to take for its queue
	// before mail is sent away for a third time: if it is less, the estimates
	// are at fault, and another will not be better.
	standstill = 5 * time.Minute
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

// Past is what a dispatcher knows of its jobs.
type Past[T any] struct {
	// Parked is how often a job was sent away before.
	Parked func(T) int
	// Order says by its sign which of two came first; nil is that of Push.
	Order func(a, b T) int
}

// compare is the order in which a tenant's jobs are sent away: first those that
// never were, for the others have waited for their turn already, and of these
// the ones that came first, for they hold up what is read behind them.
func (p Past[T]) compare(a, b T) int {
	if c := cmp.Compare(p.Parked(a), p.Parked(b)); c != 0 || p.Order == nil {
		return c
	}
	return p.Order(a, b)
}

// Relieve takes mail of a lane that a slow site cannot do soon out of the slow
// site that holds most of it, beyond what [Config.Queue] lets it keep. When
// there are so many slow sites that they hold up the lane without that, they
// keep half of its mail together. What was sent away twice stays, unless the
// site all but stands still. See [queue.Queue.Excess] for what else is taken.
func (s *Sites[T]) Relieve(lane string, past Past[T]) []Relieved[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var slow []*site[T]
	all := 0
	for _, at := range s.sites {
		n := at.queue.LaneLen(lane)
		if all += n; n > 0 && s.wait(at, now) >= s.patience(at) {
			slow = append(slow, at)
		}
	}
	slices.SortFunc(slow, func(a, b *site[T]) int { return b.queue.LaneLen(lane) - a.queue.LaneLen(lane) })
	for _, at := range slow {
		keep := s.cfg.Queue
		if at.queue.LaneLen(lane) <= keep && len(slow) > 1 {
			keep = min(keep, max(all/2/len(slow), 1))
		}
		stuck := s.wait(at, now) >= standstill
		jobs := at.queue.Excess(lane, keep, past.compare, func(job T) bool { return stuck || past.Parked(job) < 2 })
		if len(jobs) > 0 {
			return s.book(at, now, jobs)
		}
	}
	return nil
}

// book gives jobs that were taken out of a site's queue their turns.
func (s *Sites[T]) book(at *site[T], now time.Time, jobs []T) []Relieved[T] {
	s.tend(at)
	pace, certain := s.pace(at, now)
	turn := now.Add(s.wait(at, now))
	if at.horizon.After(turn) {
		turn = at.horizon
	}
	if latest := now.Add(maxTurn); !certain && turn.After(latest) {
		turn = latest
	}
	relieved := make([]Relieved[T], len(jobs))
	for i, job := range jobs {
		turn = turn.Add(seconds(1 / pace))
		relieved[i] = Relieved[T]{job, turn}
	}
	at.horizon = turn
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

// patience is how long mail may wait for a site in its queue.
func (s *Sites[T]) patience(at *site[T]) time.Duration {
	if s.rate(at) > 0 {
		return s.cfg.Patience / limited
	}
	return s.cfg.Patience
}

// wait is how long the site takes for what is in its queue; zero as long as
// that cannot be told.
func (s *Sites[T]) wait(at *site[T], now time.Time) time.Duration {
	if s.rate(at) <= 0 && now.Sub(at.since) < settling {
		return 0
	}
	pace, _ := s.pace(at, now)
	return seconds(float64(at.queue.Len()) / pace)
}

// pace is how many mails a second a site takes, and whether that is certain
// rather than seen. A site slower than it is allowed to be is as slow as it is:
// mail that came back faster would only be sent away again.
func (s *Sites[T]) pace(at *site[T], now time.Time) (float64, bool) {
	rate := s.rate(at)
	seen := max(at.pace.perSecond(now, rate), slowest)
	return seen, rate > 0 && seen >= rate/2
}

// tend keeps the site's pace by whether mail waits for it; to be called
// whenever that may have changed.
func (s *Sites[T]) tend(at *site[T]) { at.pace.wait(s.now(), at.queue.Len() > 0) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
