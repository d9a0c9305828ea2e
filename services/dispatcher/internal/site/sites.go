package site

import (
	"context"
	"sync"
	"time"

	"kurir.dev/services/dispatcher/internal/queue"
)

// Sites are all sites of a dispatcher, holding jobs of type T. Safe for
// concurrent use.
type Sites[T any] struct {
	cfg   Config
	lanes []queue.Lane
	top   string
	work  func(w *Worker[T])
	now   func() time.Time

	mu      sync.Mutex
	sites   map[string]*site[T]
	budgets map[string]*budget[T]
	closed  bool
	serial  int64
	idle    int // workers that wait for mail
	wg      sync.WaitGroup
}

// budget is how many deliveries of a lane may be under way, and who waits for
// one to end, in order.
type budget[T any] struct {
	free    int
	waiting []*site[T]
}

// New makes the sites. lanes are those served, by rank; the
// first is the one connections are reserved for. workers bounds the deliveries
// under way of each lane. work is run by each worker in a goroutine of its
// own and returns when [Worker.Next] says so.
func New[T any](cfg Config, lanes []queue.Lane, workers map[string]int, work func(w *Worker[T]), now func() time.Time) *Sites[T] {
	s := &Sites[T]{cfg: cfg, lanes: lanes, work: work, now: now, sites: map[string]*site[T]{}, budgets: map[string]*budget[T]{}}
	for _, l := range lanes {
		s.budgets[l.Name] = &budget[T]{free: workers[l.Name]}
	}
	if len(lanes) > 0 {
		s.top = lanes[0].Name
	}
	return s
}

// Job is what is pushed.
type Job[T any] struct {
	// Site it is for; Limit is the most connections of the site, 0 for the
	// default.
	Site string
	// Limit is the most connections of the site; 0 takes the default.
	Limit int
	// Lane, Tenant and Bytes decide its turn.
	Lane, Tenant string
	// Bytes of the mail.
	Bytes int
	// Value is what a worker gets.
	Value T
}

// Refusal is why a job was not queued.
type Refusal struct {
	// Wait is how long the mail should stay away.
	Wait time.Duration
	// Suspended says that an operator suspended the site, for Wait; otherwise
	// the sites are closing.
	Suspended bool
}

// Ticket is a job's place in a queue.
type Ticket[T any] struct {
	sites *Sites[T]
	site  *site[T]
	item  *queue.Item[T]
}

// Push queues a job, or says why not.
func (s *Sites[T]) Push(j Job[T]) (*Ticket[T], Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, Refusal{}
	}
	at := s.get(j.Site, j.Limit)
	if wait := at.suspended.Sub(s.now()); wait > 0 {
		return nil, Refusal{Wait: wait, Suspended: true}
	}
	item := at.queue.Push(j.Lane, j.Tenant, j.Bytes, j.Value)
	at.used = s.now()
	s.dispatch(at)
	return &Ticket[T]{s, at, item}, Refusal{}
}

// Relieved is jobs taken out of a slow site's queue.
type Relieved[T any] struct {
	Jobs []T
	// Wait is until their estimated turn.
	Wait time.Duration
}

// Relieve takes the longest-waiting mail of a lane out of the site that holds
// most of it, if that site is slow; none otherwise.
func (s *Sites[T]) Relieve(lane string) Relieved[T] {
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
	if crowded == nil || now.Sub(crowded.since) < settling || crowded.turn(now) < s.cfg.Patience {
		return Relieved[T]{}
	}
	r := Relieved[T]{Wait: min(crowded.turn(now), maxTurn)}
	for range most - s.cfg.Queue {
		r.Jobs = append(r.Jobs, crowded.queue.Take(lane))
	}
	return r
}

// Withdraw takes the job out of its queue; false when a worker has it.
func (t *Ticket[T]) Withdraw() bool {
	t.sites.mu.Lock()
	defer t.sites.mu.Unlock()
	return t.site.queue.Remove(t.item)
}

func (s *Sites[T]) get(name string, limit int) *site[T] {
	if at, ok := s.sites[name]; ok {
		return at
	}
	if len(s.sites)%64 == 63 {
		s.sweep()
	}
	if limit <= 0 {
		limit = s.cfg.Connections
	}
	at := &site[T]{name: name, queue: queue.New[T](s.lanes), limit: limit, window: min(s.cfg.Initial, limit), used: s.now(), since: s.now(), waits: map[string]bool{}}
	s.sites[name] = at
	return at
}

// sweep forgets the sites that nobody needs.
func (s *Sites[T]) sweep() {
	for name, at := range s.sites {
		if at.workers == 0 && at.queue.Len() == 0 && at.suspended.Before(s.now()) && s.now().Sub(at.used) > s.cfg.Forget {
			delete(s.sites, name)
		}
	}
}

// dispatch hands queued jobs to idle and new workers while any may go.
func (s *Sites[T]) dispatch(at *site[T]) {
	for len(at.idle) > 0 || at.workers < at.limit {
		turn, ok := s.pop(at)
		if !ok {
			return
		}
		var w *Worker[T]
		if n := len(at.idle); n > 0 {
			w = at.idle[n-1] // the warmest connection
			at.idle = at.idle[:n-1]
			s.idle--
		} else {
			s.serial++
			w = &Worker[T]{sites: s, site: at, id: s.serial, hand: make(chan T, 1)}
			at.workers++
			at.crew = append(at.crew, w)
			s.wg.Go(func() { s.work(w) })
		}
		w.lane, w.busy = turn.Lane, true
		w.hand <- turn.Value
	}
}

// pop takes the next job that may go now and charges it to its lane.
func (s *Sites[T]) pop(at *site[T]) (queue.Turn[T], bool) {
	turn, ok := at.queue.Pop(func(name string) bool {
		if s.closed || name != s.top && !s.open(at) {
			return false
		}
		b := s.budgets[name]
		if b.free <= 0 && !at.waits[name] {
			at.waits[name] = true
			b.waiting = append(b.waiting, at)
		}
		return b.free > 0
	})
	if ok {
		s.budgets[turn.Lane].free--
		at.busy++
		if turn.Lane != s.top {
			at.low++
		}
	}
	return turn, ok
}

// open says whether a lane below the highest may have one more connection.
func (s *Sites[T]) open(at *site[T]) bool {
	reserved := min(s.cfg.Reserved, at.limit-1)
	if len(s.lanes) == 1 {
		reserved = 0
	}
	return at.low < min(at.window, at.limit-reserved)
}

// release ends a delivery: whoever waited for the lane longest goes on first.
func (s *Sites[T]) release(at *site[T], lane string) {
	at.busy--
	if lane != s.top {
		at.low--
	}
	b := s.budgets[lane]
	b.free++
	for b.free > 0 && len(b.waiting) > 0 {
		next := b.waiting[0]
		b.waiting = b.waiting[1:]
		delete(next.waits, lane)
		s.dispatch(next)
	}
}

// Drain takes all waiting jobs out of all queues, for good: nothing is queued
// any more.
func (s *Sites[T]) Drain() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var jobs []T
	for _, at := range s.sites {
		for _, l := range s.lanes {
			jobs = append(jobs, at.queue.Drain(l.Name)...)
		}
		for _, w := range at.idle {
			close(w.hand)
		}
		s.idle -= len(at.idle)
		at.idle = nil
	}
	return jobs
}

// Wait waits until every worker has ended, or ctx has. Drain comes first.
func (s *Sites[T]) Wait(ctx context.Context) error {
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { s.wg.Wait(); close(done) })
	select {
	case <-done:
		watch.Wait()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
