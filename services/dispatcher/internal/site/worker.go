package site

import (
	"math"
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
	limit     int // of connections
	window    int // of connections the lower lanes may have now
	workers   int
	busy, low int // deliveries under way; of those, of lower lanes
	crew      []*Worker[T]
	idle      []*Worker[T]
	since     time.Time // it is known
	used      time.Time // last
	suspended time.Time
	tally     Tally
	lastError string
	hosts     []Host
	rate      rate
	waits     map[string]bool // lanes whose budget it waits for
}

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

// rate is an exponentially fading count of completions.
type rate struct {
	fading float64
	last   time.Time
}

const (
	rateMemory = 30 * time.Second
	settling   = 2 * time.Second // before a site's speed can be told
	maxTurn    = 30 * time.Minute
)

func (r *rate) count(now time.Time) {
	r.fading = r.fading*math.Exp(-now.Sub(r.last).Seconds()/rateMemory.Seconds()) + 1
	r.last = now
}

// perSecond is the speed, of a site that has been there for so long.
func (r *rate) perSecond(now time.Time, age time.Duration) float64 {
	fading := r.fading * math.Exp(-now.Sub(r.last).Seconds()/rateMemory.Seconds())
	seen := 1 - math.Exp(-age.Seconds()/rateMemory.Seconds())
	return fading / (rateMemory.Seconds() * max(seen, 1e-3))
}

// turn estimates when a mail that came now would be sent: the queue's length
// over its speed.
func (s *site[T]) turn(now time.Time) time.Duration {
	seconds := float64(s.queue.Len()) / max(s.rate.perSecond(now, now.Sub(s.since)), 0.01)
	return time.Duration(min(seconds, 86400) * float64(time.Second))
}

// Worker carries a site's mail over one connection at a time.
type Worker[T any] struct {
	sites *Sites[T]
	site  *site[T]
	id    int64
	hand  chan T // one job, or closed
	lane  string
	busy  bool
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
func (w *Worker[T]) Next(v Verdict, idle time.Duration) (T, bool) {
	s := w.sites
	s.mu.Lock()
	w.judge(v)
	w.busy = false
	s.release(w.site, w.lane)
	if turn, ok := s.pop(w.site); ok {
		w.lane, w.busy = turn.Lane, true
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
	w.site.idle = append(w.site.idle, w)
	s.idle++
	s.mu.Unlock()

	timer := time.NewTimer(idle)
	defer timer.Stop()
	select {
	case job, ok := <-w.hand:
		if !ok {
			w.end()
		}
		return job, ok
	case <-timer.C:
	}
	s.mu.Lock()
	if i := slices.Index(w.site.idle, w); i >= 0 {
		w.site.idle = slices.Delete(w.site.idle, i, i+1)
		s.idle--
		w.leave()
		s.mu.Unlock()
		var none T
		return none, false
	}
	s.mu.Unlock()
	job, ok := <-w.hand // it came in the same moment
	if !ok {
		w.end()
	}
	return job, ok
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
	at.rate.count(at.used)
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
