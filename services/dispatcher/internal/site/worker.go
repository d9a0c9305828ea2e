package site

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"kurir.dev/services/dispatcher/internal/queue"
	"kurir.dev/services/dispatcher/internal/session"
)

// site is one destination; its Sites' lock guards it.
type site[T any] struct {
	name      string
	queue     *queue.Queue[T]
	rule      Rule
	limit     int // of connections, for all dispatchers together
	window    int // of connections the lower lanes may have now
	workers   int
	busy, low int           // deliveries under way; of those, of lower lanes
	crowd     map[party]int // of those, whose
	crew      []*Worker[T]
	idle      []*Worker[T]
	since     time.Time // it is known
	used      time.Time // last
	suspended time.Time
	tally     Tally
	lastError string
	hosts     []Host
	codes     speed     // of the highest lane's mail
	pace      pace      // of all mail
	bucket    bucket    // of its rate
	horizon   time.Time // when all mail sent away from it will have had its turn
	timer     *time.Timer
	wakes     time.Time       // when timer fires; zero when it does not
	kept      int             // idle workers kept for the highest lane
	waits     map[string]bool // lanes whose budget it waits for
}

// party is who shares a site's connections: a tenant in a lane.
type party struct{ lane, tenant string }

// Host is one host of a site.
type Host struct {
	// Name is its name; Preference orders hosts, lower first.
	Name string
	// Preference orders hosts, lower first.
	Preference uint16
	// Addresses it was last found at.
	Addresses []string
}

// Tally counts what became of a site's mail.
type Tally struct{ Delivered, Deferred, Bounced int64 }

// Worker carries a site's mail over one connection at a time.
type Worker[T any] struct {
	sites *Sites[T]
	site  *site[T]
	id    int64
	hand  chan T // one job, or closed
	party        // whose job it has, or had last
	busy  bool
	kept  bool // its connection is for the highest lane
	conn  *session.Session
	shut  bool // an operator wants the connection closed
}

// Verdict is what a job did to its site.
type Verdict struct {
	// Delivered, Deferred or Bounced; none when the job left no mark.
	Delivered, Deferred, Bounced bool
	// Unreachable says that no connection came about.
	Unreachable bool
	// Error is the last reply that was no success, in words.
	Error string
}

// First waits for the worker's first job.
func (w *Worker[T]) First() (T, bool) {
	job, ok := <-w.hand
	return job, ok
}

// Next ends the job at hand and waits for another, no longer than idle; false
// says that the worker is to end.
func (w *Worker[T]) Next(v Verdict, idle time.Duration) (T, bool) { return w.Keep(v, idle, nil) }

// Keep is Next for a worker whose connection may be kept for mail of the
// highest lane, beyond idle: refresh is then called from time to time and
// answers whether the connection is fit.
func (w *Worker[T]) Keep(v Verdict, idle time.Duration, refresh func() bool) (T, bool) {
	s := w.sites
	s.mu.Lock()
	w.judge(v)
	w.busy = false
	s.release(w.site, w.party)
	for {
		if w.site.workers > s.limit(w.site) {
			idle = 0 // another has come to share the site
		} else if turn, ok := s.pop(w.site); ok {
			w.party, w.busy, w.kept = party{turn.Lane, turn.Tenant}, true, false
			s.dispatch(w.site) // success may have allowed one more
			s.mu.Unlock()
			return turn.Value, true
		}
		if s.closed || idle <= 0 {
			w.leave()
			s.mu.Unlock()
			var none T
			return none, false
		}
		patience := idle
		if w.kept = refresh != nil && s.keeps(w); w.kept {
			patience = s.cfg.Warm.Every
			w.site.kept++
		}
		w.site.idle = append(w.site.idle, w)
		s.idle++
		s.mu.Unlock()
		job, ok, late := w.rest(patience)
		if !late || !w.kept {
			return job, ok
		}
		fit := refresh()
		s.mu.Lock()
		if !fit {
			idle = 0
		}
	}
}

// keeps says whether an idle worker's connection is kept for the highest lane.
func (s *Sites[T]) keeps(w *Worker[T]) bool {
	at, now := w.site, s.now()
	if s.top == "" || w.lane != s.top || at.kept >= min(s.cfg.Warm.Connections, s.limit(at)) {
		return false
	}
	if now.Sub(s.ranked) >= time.Second || !s.warm[at] && len(s.warm) < s.cfg.Warm.Sites {
		s.rank(now)
	}
	return s.warm[at]
}

// rank decides anew which sites are kept warm: those with most mail of the
// highest lane.
func (s *Sites[T]) rank(now time.Time) {
	s.ranked = now
	type weighed struct {
		at   *site[T]
		pace float64
	}
	var all []weighed
	for _, at := range s.sites {
		if now.Sub(at.codes.last) <= s.cfg.Warm.Quiet {
			all = append(all, weighed{at, at.codes.perSecond(now, now.Sub(at.since))})
		}
	}
	slices.SortFunc(all, func(a, b weighed) int {
		return cmp.Or(cmp.Compare(b.pace, a.pace), cmp.Compare(a.at.name, b.at.name))
	})
	s.warm = map[*site[T]]bool{}
	for _, a := range all[:min(len(all), s.cfg.Warm.Sites)] {
		s.warm[a.at] = true
	}
}

// rest waits for a job; late says that none came in time. A worker that is not
// kept has then left.
func (w *Worker[T]) rest(patience time.Duration) (job T, ok, late bool) {
	s := w.sites
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case job, ok := <-w.hand:
		if !ok {
			w.end()
		}
		return job, ok, false
	case <-timer.C:
	}
	s.mu.Lock()
	if i := slices.Index(w.site.idle, w); i >= 0 {
		s.unrest(w.site, i)
		if !w.kept {
			w.leave()
		}
		s.mu.Unlock()
		return job, false, true
	}
	s.mu.Unlock()
	job, ok = <-w.hand // it came in the same moment
	if !ok {
		w.end()
	}
	return job, ok, false
}

// unrest takes the i-th idle worker off the list.
func (s *Sites[T]) unrest(at *site[T], i int) *Worker[T] {
	w := at.idle[i]
	at.idle = slices.Delete(at.idle, i, i+1)
	s.idle--
	if w.kept {
		at.kept--
	}
	return w
}

func (w *Worker[T]) judge(v Verdict) {
	at := w.site
	at.used = w.sites.now()
	switch {
	case v.Delivered:
		at.tally.Delivered++
		at.window = min(at.window+1, at.limit)
	case v.Deferred:
		at.tally.Deferred++
	case v.Bounced:
		at.tally.Bounced++
	}
	if v.Unreachable {
		at.window = max(at.window/2, 1)
	}
	if v.Error != "" {
		at.lastError = v.Error
	}
	at.pace.count(at.used)
	if w.lane == w.sites.top {
		at.codes.count(at.used)
	}
}

// leave takes the worker off its site's books.
func (w *Worker[T]) leave() {
	w.conn = nil
	w.site.workers--
	w.site.crew = slices.DeleteFunc(w.site.crew, func(o *Worker[T]) bool { return o == w })
	w.sites.dispatch(w.site)
}

func (w *Worker[T]) end() {
	w.sites.mu.Lock()
	defer w.sites.mu.Unlock()
	w.leave()
}

// Site is the name of the worker's site.
func (w *Worker[T]) Site() string { return w.site.name }

// Show lists the worker's connection; nil that it has none.
func (w *Worker[T]) Show(conn *session.Session) {
	w.sites.mu.Lock()
	defer w.sites.mu.Unlock()
	w.conn = conn
}

// Shut says whether an operator wants this connection closed, and forgets it.
func (w *Worker[T]) Shut() bool {
	w.sites.mu.Lock()
	defer w.sites.mu.Unlock()
	shut := w.shut
	w.shut = false
	return shut
}

// Hosts tells which hosts the worker's site has.
func (w *Worker[T]) Hosts(hosts []Host) {
	w.sites.mu.Lock()
	defer w.sites.mu.Unlock()
	w.site.hosts = hosts
}

// ID names the worker's connection within the dispatcher.
func (w *Worker[T]) ID() string { return strconv.FormatInt(w.id, 10) }
