// Package deliver takes mails from their lane records to their outcomes.
//
// The life of a mail here:
//
//  1. [Lane.Handle] opens the record and looks it up: what is settled is not
//     sent again, what is under way is joined.
//  2. Its route is chosen; on the MX route its hosts are looked up.
//  3. It waits at its site for its turn (package site). A site whose queue is
//     full sends it to the waiting room until its estimated turn.
//  4. A worker signs it, connects where needed, and sends it, from host to
//     host for as long as another may do better.
//  5. What came of it is judged (package outcome) and written down (package
//     journal); lanes that retry inline wait here for the next try, all others
//     in the router's waiting room.
//
// A mail is abandoned, for the next owner of its partition, when its lease ends
// before its final dot. From the dot on its end is waited for and written down
// whatever the lease, and a record of it that is read again waits with it.
package deliver

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"kurir.dev/kit/app"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/record"
	"kurir.dev/kit/topic"
	"kurir.dev/services/dispatcher/internal/dial"
	"kurir.dev/services/dispatcher/internal/dkim"
	"kurir.dev/services/dispatcher/internal/dns"
	"kurir.dev/services/dispatcher/internal/journal"
	"kurir.dev/services/dispatcher/internal/queue"
	"kurir.dev/services/dispatcher/internal/route"
	"kurir.dev/services/dispatcher/internal/session"
	"kurir.dev/services/dispatcher/internal/site"
)

// Config is what the engine is told.
type Config struct {
	// Lanes served, by rank.
	Lanes lane.Set
	// Workers and Lookups bound each lane's deliveries and lookups under way,
	// Outstanding the mails it holds.
	Workers, Lookups, Outstanding map[string]int
	// Bytes bounds the bytes of the mails each lane holds.
	Bytes map[string]int64
	// Urgent is the first-ranked lane of the installation, served or not.
	Urgent string
	// SMTP is how sessions are held, Sites what sites may have.
	SMTP session.Config
	// Sites is what sites may have.
	Sites site.Config
	// Sandbox is where the sandbox inbox takes mail; empty without one.
	Sandbox string
	// Session is the time after which a lane's owner that is not heard of loses
	// its lease.
	Session time.Duration
}

// Deps are what the engine works with; all are required.
type Deps struct {
	Log      *slog.Logger
	Tracer   trace.Tracer
	Metrics  *Metrics
	Codec    *record.Codec
	Journal  *journal.Journal
	Resolver *dns.Resolver
	Routes   *route.Table
	Signer   *dkim.Signer
	Gate     *gate.Gate
	Dialer   dial.Dialer
	Now      func() time.Time
}

// Engine delivers. It has a [Lane] for each lane.
type Engine struct {
	Deps
	cfg    Config
	sites  *site.Sites[*job]
	broken brokenTLS
	own    []string
	life   context.Context    //nolint:containedctx // of what waits for the reply to a dot, which outlives its lease
	end    context.CancelFunc // ends life

	homes map[string]*Lane // by name, of the lanes served

	mu      sync.Mutex
	queued  roll
	waiting map[*job]time.Time // waiting for the next inline try
	busy    map[string]bool    // lanes that are being relieved

	lookups sync.WaitGroup
}

// New makes an engine.
func New(cfg Config, deps Deps) *Engine {
	e := &Engine{
		Deps: deps, cfg: cfg, own: []string{cfg.SMTP.EHLO, "localhost"},
		broken: brokenTLS{until: map[string]time.Time{}},
		queued: newRoll(), waiting: map[*job]time.Time{}, busy: map[string]bool{},
	}
	e.life, e.end = context.WithCancel(context.Background()) //nolint:forbidigo // ended by Stop
	lanes := make([]queue.Lane, len(cfg.Lanes))
	for i, l := range cfg.Lanes {
		lanes[i] = queue.Lane{Name: l.Name, Rank: l.Rank, FloorPercent: l.FloorPercent, Urgent: l.Name == cfg.Urgent}
	}
	e.sites = site.New(cfg.Sites, lanes, cfg.Workers, e.work, deps.Now)
	e.homes = make(map[string]*Lane, len(cfg.Lanes))
	for _, l := range cfg.Lanes {
		home := &Lane{engine: e, lane: l, ledger: newLedger[*job]()}
		for b, n := range [topic.Bands]int{topic.Ordinary: cfg.Lookups[l.Name], topic.Overflow: cfg.Lookups[l.Name] / 2} {
			home.lookups[b] = make(chan struct{}, max(n, 1))
		}
		e.homes[l.Name] = home
	}
	return e
}

// Stats is how a lane stands in memory.
type Stats struct {
	// Held are the mails taken over and not done.
	Held int
	// Oldest is when the longest-accepted of them was; zero for none.
	Oldest time.Time
}

// Stats tells of a lane; the zero Stats of one that is not served.
func (e *Engine) Stats(lane string) Stats {
	home, ok := e.homes[lane]
	if !ok {
		return Stats{}
	}
	var s Stats
	home.ledger.each(func(j *job) {
		if s.Held++; s.Oldest.IsZero() || j.mail.AcceptedAt.Before(s.Oldest) {
			s.Oldest = j.mail.AcceptedAt
		}
	})
	return s
}

// Sites are where to look into deliveries.
func (e *Engine) Sites() *site.Sites[*job] { return e.sites }

const (
	// sweepEvery is how often waiting mails are looked at.
	sweepEvery = 50 * time.Millisecond
	// sweepQueued is how many of those in queues are, at each time.
	sweepQueued = 1000
)

// Part runs the engine. It is stopped after the lanes' consumers: what is
// still queued then is abandoned, and sessions say QUIT.
func (e *Engine) Part() app.Part {
	loop := app.Loop("deliveries", func(ctx context.Context) error {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				e.sweep()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	stop := loop.Stop
	loop.Stop = func(ctx context.Context) error {
		err := stop(ctx)
		e.lookups.Wait()
		for _, j := range e.sites.Drain() {
			e.dequeue(j)
			e.abandon(j)
		}
		e.mu.Lock()
		rest := make([]*job, 0, len(e.waiting))
		for j := range e.waiting {
			rest = append(rest, j)
		}
		clear(e.waiting)
		e.mu.Unlock()
		for _, j := range rest {
			e.abandon(j)
		}
		e.end()
		if waited := e.sites.Wait(ctx); err == nil {
			err = waited
		}
		return err
	}
	return loop
}

// sweep ends the wait of mails whose lease or time is over, and wakes those
// whose next try is due.
func (e *Engine) sweep() {
	now := e.Now()
	var due []*job
	e.mu.Lock()
	gone := e.queued.withdraw(sweepQueued, func(j *job) bool { return j.leaving() || !now.Before(j.mail.ExpiresAt) })
	for j, at := range e.waiting {
		switch {
		case j.leaving() || !j.listens && !now.Before(j.mail.ExpiresAt):
			gone = append(gone, j)
		case !now.Before(at):
			due = append(due, j)
		default:
			continue
		}
		delete(e.waiting, j)
	}
	held := maps.Clone(e.queued.held)
	e.mu.Unlock()
	for _, j := range gone {
		if j.leaving() {
			e.abandon(j)
		} else {
			e.expire(j, j.last)
		}
	}
	for _, j := range due {
		if j.listens {
			e.abandon(j)
			continue
		}
		j.calm = e.Gate.Begin(j.lane.Name, j.mail.Tenant)
		e.lookups.Go(func() { e.route(j) })
	}
	for _, l := range e.cfg.Lanes {
		if !l.Inline && e.crowds(l.Name, held[l.Name]) {
			e.relieve(l.Name)
		}
	}
}

// crowds says whether that hides, or is about to, what comes behind it: it is
// three quarters of the lane's window, or a partition stands still before, for
// the gaps between what is done are as many as its commits can hold.
func (e *Engine) crowds(lane string, l load) bool {
	bytes := e.cfg.Bytes[lane]
	return e.homes[lane].pressed.Load() > 0 || l.mails >= e.cfg.Outstanding[lane]*3/4 || bytes > 0 && l.bytes >= bytes/4*3
}

// relieve sends mail of slow sites away until its turn, beside the sweeps: it
// may be much, and codes that are due do not wait for it.
func (e *Engine) relieve(lane string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy[lane] {
		return
	}
	e.busy[lane] = true
	past := site.Past[*job]{
		Parked: func(j *job) int { return j.mail.Parked() },
		Order:  func(a, b *job) int { return cmp.Compare(a.serial, b.serial) },
	}
	e.lookups.Go(func() {
		for _, r := range e.sites.Relieve(lane, past) {
			e.dequeue(r.Job)
			e.park(r.Job, r.Turn)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.busy, lane)
	})
}

// enqueue lets the job wait at its site, or deals with it when the site would
// not have it.
func (e *Engine) enqueue(j *job) {
	j.calm() // until a worker has it
	e.mu.Lock()
	ticket, refused := e.sites.Push(site.Job[*job]{
		Site: j.site, Limit: j.rule.Connections, Lane: j.lane.Name, Tenant: j.mail.Tenant, Bytes: len(j.mail.Message),
		Value: j,
	})
	if ticket != nil {
		e.queued.put(j, ticket)
	}
	e.mu.Unlock()
	switch {
	case ticket != nil:
	case refused.Suspended:
		e.suspended(j, refused.Wait)
	default:
		e.abandon(j)
	}
}

func (e *Engine) dequeue(j *job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queued.take(j)
}

// Suspend stops a site until then; what waited for it is deferred. False when
// there is no such site.
func (e *Engine) Suspend(name string, until time.Time) bool {
	jobs, ok := e.sites.Suspend(name, until)
	for _, j := range jobs {
		e.dequeue(j)
		e.suspended(j, until.Sub(e.Now()))
	}
	return ok
}
