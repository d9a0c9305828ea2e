// Package crowd keeps one tenant's backlog out of the way of all others. It
// counts, by lane and tenant, the records that this router put into a lane's
// ordinary band and that are not done, and sends what a tenant has beyond a
// number of them into the overflow band: so what lies before a mail in the
// ordinary band is bounded by tenants, not by the backlog of any.
//
// A record is done when the dispatchers have committed it, whatever still lies
// before it; until they are asked again it counts on, which costs its tenant
// nothing but the other band. Routers count for themselves, and one that starts
// anew counts from nothing: what a crowded tenant then puts into the ordinary
// band is bounded all the same.
package crowd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"kurir.dev/kit/custody/mark"
	"kurir.dev/kit/topic"
)

// Config bounds what a tenant has in the ordinary band.
type Config struct {
	// After is how many unfinished mails of a tenant one router puts into the
	// ordinary band of a lane; those beyond it go into the overflow band. 0
	// puts all into the ordinary band.
	After int `yaml:"after"`
}

// Default is for production: what a dispatcher delivers while it is not known yet
// to be done, at a pace of some hundreds a second, and no more: so much of a
// crowded tenant may lie before others.
func Default() Config { return Config{After: 200} }

// Validate reports what is wrong with c.
func (c Config) Validate() error {
	if c.After < 0 {
		return errors.New("after: must not be negative")
	}
	return nil
}

const (
	// every is how often the dispatchers' commits are asked for while there is
	// something they could be about.
	every = 250 * time.Millisecond
	// patience bounds the asking for those of one lane.
	patience = 2 * time.Second
	// room is how many records of a lane are counted. While that is exceeded
	// nobody who has one there gets another, and of those who have none the
	// newest counts instead of the oldest of its partition.
	room = 100_000
)

// Crowd counts. Nil puts every mail into the ordinary band. It is safe for
// concurrent use; Run must run beside it, or nothing is ever done.
type Crowd struct {
	after  int
	commit func(ctx context.Context, lane string) (map[int]mark.Mark, error)
	log    *slog.Logger
	lanes  map[string]*lane
	signal chan struct{} // holds a token when records came
}

// lane is what is counted of one lane.
type lane struct {
	mu      sync.Mutex
	tenants map[string]*tenant
	lines   map[int][]record // by partition, in the order of their acknowledgement
	records int              // in lines
}

// tenant is who has something there, landed or under way.
type tenant struct {
	name string
	n    int
}

// record is one that landed.
type record struct {
	offset int64
	tenant *tenant
}

// New makes a crowd of lanes. commits tells what of a lane's partitions is done;
// it is asked by Run alone.
func New(cfg Config, lanes []string, commits func(ctx context.Context, lane string) (map[int]mark.Mark, error), log *slog.Logger) *Crowd {
	c := &Crowd{after: cfg.After, commit: commits, log: log, lanes: make(map[string]*lane), signal: make(chan struct{}, 1)}
	if cfg.After > 0 {
		for _, name := range lanes {
			c.lanes[name] = &lane{tenants: make(map[string]*tenant), lines: make(map[int][]record)}
		}
	}
	return c
}

// Choose gives the next mail of a tenant a seat: in the overflow band when the
// tenant is crowded.
func (c *Crowd) Choose(lane, tenant string) *Seat {
	l := c.lane(lane)
	if l == nil {
		return &Seat{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tenants[tenant]; t != nil && (t.n >= c.after || l.records >= room) {
		return &Seat{band: topic.Overflow}
	}
	return c.seat(l, tenant)
}

// Keep gives a mail a seat in the band it had before.
func (c *Crowd) Keep(lane, tenant string, band topic.Band) *Seat {
	l := c.lane(lane)
	if l == nil || band != topic.Ordinary {
		return &Seat{band: band}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.seat(l, tenant)
}

// lane is what is counted of a lane; nil for nothing.
func (c *Crowd) lane(name string) *lane {
	if c == nil {
		return nil
	}
	return c.lanes[name]
}

// seat is one that counts; l.mu is held.
func (c *Crowd) seat(l *lane, tenant string) *Seat {
	l.join(tenant)
	return &Seat{crowd: c, lane: l, tenant: tenant, waits: true}
}

// Crowded is how many tenants of each lane have no place in its ordinary band.
func (c *Crowd) Crowded() map[string]int {
	crowded := make(map[string]int, len(c.lanes))
	for name, l := range c.lanes {
		l.mu.Lock()
		crowded[name] = 0
		for _, t := range l.tenants {
			if t.n >= c.after {
				crowded[name]++
			}
		}
		l.mu.Unlock()
	}
	return crowded
}

// Run asks what is done, every so often while something is not, until ctx ends.
// A broker that does not answer is asked again.
func (c *Crowd) Run(ctx context.Context) error {
	tick := time.NewTimer(every)
	defer tick.Stop()
	for {
		select {
		case <-c.signal:
		case <-ctx.Done():
			return nil
		}
		for more := true; more; {
			tick.Reset(every)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
			more = c.look(ctx)
		}
	}
}

// look forgets what is done and tells whether something is not.
func (c *Crowd) look(ctx context.Context) bool {
	more := false
	for name, l := range c.lanes {
		if l.empty() {
			continue
		}
		if err := c.ask(ctx, name, l); err != nil && ctx.Err() == nil {
			c.log.DebugContext(ctx, "what is done of a lane could not be asked", slog.String("lane", name), slog.Any("error", err))
		}
		more = more || !l.empty()
	}
	return more
}

func (c *Crowd) ask(ctx context.Context, name string, l *lane) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	marks, err := c.commit(ctx, name)
	if err != nil {
		return fmt.Errorf("asking for commits: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for partition, m := range marks {
		l.lines[partition] = slices.DeleteFunc(l.lines[partition], func(r record) bool {
			done := m.Has(r.offset)
			if done {
				l.records--
				l.part(r.tenant)
			}
			return done
		})
		if len(l.lines[partition]) == 0 {
			delete(l.lines, partition)
		}
	}
	return nil
}

func (l *lane) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records == 0
}

// join counts one more of a tenant; l.mu is held, as by all below.
func (l *lane) join(name string) *tenant {
	t := l.tenants[name]
	if t == nil {
		t = &tenant{name: name}
		l.tenants[name] = t
	}
	t.n++
	return t
}

// part counts one less.
func (l *lane) part(t *tenant) {
	if t.n--; t.n == 0 {
		delete(l.tenants, t.name)
	}
}

// land keeps where a record of a tenant lies that was joined.
func (l *lane) land(partition int, r record) {
	if l.records >= room {
		if len(l.lines[partition]) == 0 {
			l.part(r.tenant)
			return
		}
		l.part(l.lines[partition][0].tenant)
		l.lines[partition] = l.lines[partition][1:]
		l.records--
	}
	l.lines[partition] = append(l.lines[partition], r)
	l.records++
}
