package site

import (
	"cmp"
	"context"
	"math"
	"slices"
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
	idle    int               // workers that wait for mail
	members int               // live dispatchers, which share what sites may have
	warm    map[*site[T]]bool // those to keep connections to
	ranked  time.Time         // when that was decided
	wg      sync.WaitGroup
}

// budget is how many deliveries of a lane may be under way, and who waits for
// one to end, in order.
type budget[T any] struct {
	size    int
	free    int
	waiting []*site[T]
}

// New makes the sites. lanes are those served, by rank; connections and tokens
// are reserved for the urgent one, if it is among them. workers bounds the deliveries
// under way of each lane. work is run by each worker in a goroutine of its
// own and returns when [Worker.Next] says so.
func New[T any](cfg Config, lanes []queue.Lane, workers map[string]int, work func(w *Worker[T]), now func() time.Time) *Sites[T] {
	s := &Sites[T]{members: 1, cfg: cfg, lanes: lanes, work: work, now: now, sites: map[string]*site[T]{}, budgets: map[string]*budget[T]{}}
	for _, l := range lanes {
		s.budgets[l.Name] = &budget[T]{size: workers[l.Name], free: workers[l.Name]}
	}
	if len(lanes) > 0 && lanes[0].Urgent {
		s.top = lanes[0].Name
	}
	return s
}

// Share says how many dispatchers share what each site may have; less than one
// counts as one. What is open stays open until its mail is done.
func (s *Sites[T]) Share(members int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if members = max(members, 1); members == s.members {
		return
	}
	s.members = members
	for _, at := range s.sites {
		s.dispatch(at)
	}
}

// Members is how many share.
func (s *Sites[T]) Members() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members
}

// limit is how many connections of a site are ours.
func (s *Sites[T]) limit(at *site[T]) int { return max(at.limit/s.members, 1) }

// rate is how many mails a second to a site are ours; 0 is no limit.
func (s *Sites[T]) rate(at *site[T]) float64 { return at.rule.Rate / float64(s.members) }

// reserved is how many of our connections of a site are the highest lane's.
func (s *Sites[T]) reserved(at *site[T]) int {
	if s.top == "" || len(s.lanes) == 1 {
		return 0
	}
	limit := s.limit(at)
	return min(max(s.cfg.Reserved/s.members, min(s.cfg.Reserved, 1)), limit-1)
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
	s.tend(at)
	return &Ticket[T]{s, at, item}, Refusal{}
}

// Withdraw takes the job out of its queue; false when a worker has it.
func (t *Ticket[T]) Withdraw() bool {
	t.sites.mu.Lock()
	defer t.sites.mu.Unlock()
	defer t.sites.tend(t.site)
	return t.site.queue.Remove(t.item)
}

func (s *Sites[T]) get(name string, limit int) *site[T] {
	if at, ok := s.sites[name]; ok {
		return at
	}
	if len(s.sites)%64 == 63 {
		s.sweep()
	}
	rule := Rule{Connections: s.cfg.Connections, Rate: s.cfg.Rate}
	for _, r := range s.cfg.Rules {
		if r.fits(name) {
			rule = Rule{Connections: cmp.Or(r.Connections, rule.Connections), Rate: cmp.Or(r.Rate, rule.Rate)}
			break
		}
	}
	if limit <= 0 {
		limit = rule.Connections
	}
	at := &site[T]{name: name, rule: rule, queue: queue.New[T](s.lanes), limit: limit, window: min(s.cfg.Initial, limit), used: s.now(), since: s.now(), waits: map[string]bool{}, crowd: map[party]int{}}
	s.sites[name] = at
	return at
}

// sweep forgets the sites that nobody needs.
func (s *Sites[T]) sweep() {
	for name, at := range s.sites {
		if at.workers == 0 && at.queue.Len() == 0 && at.suspended.Before(s.now()) && at.horizon.Before(s.now()) && s.now().Sub(at.used) > s.cfg.Forget {
			delete(s.sites, name)
		}
	}
}

// dispatch hands queued jobs to idle and new workers while any may go.
func (s *Sites[T]) dispatch(at *site[T]) {
	for len(at.idle) > 0 || at.workers < s.limit(at) {
		turn, ok := s.pop(at)
		if !ok {
			return
		}
		w := s.rested(at, turn.Lane)
		if w == nil {
			s.serial++
			w = &Worker[T]{sites: s, site: at, id: s.serial, hand: make(chan T, 1)}
			at.workers++
			at.crew = append(at.crew, w)
			s.wg.Go(func() { s.work(w) })
		}
		w.party, w.busy = party{turn.Lane, turn.Tenant}, true
		w.hand <- turn.Value
	}
}

// rested takes an idle worker for a mail of lane, the warmest; nil when there
// is none, or only such as are kept for the highest lane and another can be
// made.
func (s *Sites[T]) rested(at *site[T], lane string) *Worker[T] {
	for i, w := range slices.Backward(at.idle) {
		if w.kept && lane != s.top && at.workers < s.limit(at) {
			continue
		}
		return s.unrest(at, i)
	}
	return nil
}

// pop takes the next job that may go now and charges it to its lane.
func (s *Sites[T]) pop(at *site[T]) (queue.Turn[T], bool) {
	turn, ok := at.queue.Pop(func(name string) bool {
		if s.closed || name != s.top && !s.open(at) || !s.token(at, name) {
			return false
		}
		b := s.budgets[name]
		if b.free <= 0 && !at.waits[name] {
			at.waits[name] = true
			b.waiting = append(b.waiting, at)
		}
		return b.free > 0
	}, s.fits(at))
	if ok {
		s.tend(at)
		s.budgets[turn.Lane].free--
		if s.rate(at) > 0 {
			at.bucket.tokens--
		}
		at.busy++
		if turn.Lane != s.top {
			at.low++
			at.crowd[party{turn.Lane, turn.Tenant}]++
		}
	}
	return turn, ok
}

// shared is how many connections the lanes below the highest may have.
func (s *Sites[T]) shared(at *site[T]) int { return min(at.window, s.limit(at)-s.reserved(at)) }

// open says whether they may have one more.
func (s *Sites[T]) open(at *site[T]) bool { return at.low < s.shared(at) }

// fits answers whether a tenant of a lane may have one more: the last are for
// those who have few. Nil is that all may.
func (s *Sites[T]) fits(at *site[T]) func(lane, tenant string) bool {
	shared := s.shared(at)
	spare := min(s.cfg.Spare, shared/4)
	if at.low < shared-spare {
		return nil
	}
	return func(lane, tenant string) bool { return lane == s.top || at.crowd[party{lane, tenant}] < spare }
}

// token says whether the site's rate lets a mail of lane go now; if not, the
// site is looked at again when it does. The reserve is for codes yet to come:
// when some wait, the queue decides who is next, and keeps the floors.
func (s *Sites[T]) token(at *site[T], lane string) bool {
	rate := s.rate(at)
	if rate <= 0 {
		return true
	}
	reserve := 0.0
	if lane != s.top && s.top != "" && at.queue.LaneLen(s.top) == 0 {
		reserve = math.Floor(depth(rate) * float64(s.cfg.ReservedRate) / 100)
		reserve = min(reserve, depth(rate)-1)
	}
	at.bucket.fill(s.now(), rate)
	wait := at.bucket.wait(rate, reserve)
	if wait == 0 {
		return true
	}
	s.wake(at, s.now().Add(wait))
	return false
}

// wake looks at the site again at that time, if not before.
func (s *Sites[T]) wake(at *site[T], then time.Time) {
	if !at.wakes.IsZero() && !at.wakes.After(then) {
		return
	}
	at.wakes = then
	if at.timer != nil {
		at.timer.Reset(then.Sub(s.now()))
		return
	}
	at.timer = time.AfterFunc(then.Sub(s.now()), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		at.wakes = time.Time{}
		if !s.closed {
			s.dispatch(at)
		}
	})
}

// release ends a delivery: whoever waited for the lane longest goes on first.
func (s *Sites[T]) release(at *site[T], who party) {
	lane := who.lane
	at.busy--
	if lane != s.top {
		at.low--
		if at.crowd[who]--; at.crowd[who] == 0 {
			delete(at.crowd, who)
		}
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
		if at.timer != nil {
			at.timer.Stop()
		}
		for _, w := range at.idle {
			close(w.hand)
		}
		s.idle -= len(at.idle)
		at.idle, at.kept = nil, 0
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
