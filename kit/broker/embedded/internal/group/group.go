// Package group coordinates consumer groups: who is a member, which generation
// it is, and how far each group has come. It speaks the classic group protocol
// of Kafka, as answers to decoded requests.
//
// What a group does is decided by a pure state machine (package machine); what
// was committed is kept by a journal (package offsets). Here are the locks,
// the clock and those who wait:
//
//   - Each group with members has a cell: its machine, its lock, and the
//     channels of the requests that wait in it. A group without members has
//     none; it lives in its offsets alone.
//   - One goroutine owns the clock for all cells.
//   - A commit is checked and queued under the lock of its group, and waits for
//     the disk outside it: so commits are written in the order in which they
//     were found valid, and one that was valid before a rebalance cannot
//     overtake one of the next owner.
//
// The journal keeps the last deal of each group: it is on disk before anybody
// is told it. A restart goes on with it, and with sessions begun anew, so that
// members go on as if nothing had happened, and nobody is dealt what a member
// that was silent may hold before its session is over. Only of those that lived
// in the coordinator's own process it is known that they died with it: they have
// left. Generations go on above
// the highest that was ever reached, which the journal bounds, and member ids
// are random: nothing that a member of an older generation sends can be taken
// for that of a member of now.
package group

import (
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"kurir.dev/kit/broker/embedded/internal/group/machine"
	"kurir.dev/kit/broker/embedded/internal/group/offsets"
)

// maxMembers bounds the members of a group.
const maxMembers = 1000

// step is how many generations are reserved at a time. The next ones are when
// half of them are used.
const step = 1024

// Config is what a coordinator needs.
type Config struct {
	// Dir holds the journal of committed offsets and deals; it is made if it is
	// missing.
	Dir string
	// Sync makes each commit durable before it is answered.
	Sync bool
	// MinSession and MaxSession bound the session timeouts of members.
	MinSession, MaxSession time.Duration
	// InitialDelay is how long a group without members waits for more before
	// its first generation.
	InitialDelay time.Duration
	// Process names the process we are in, as no other is named; empty when
	// that is not known. Members that lived in the same process as a
	// coordinator before us, and not in this one, are dead: nobody waits for
	// their sessions to end.
	Process string
	// Log is for what nobody is answered; nil discards it.
	Log *slog.Logger
	// Writable says why the state may not grow now, as when the disk is full;
	// nil, or a nil error, that it may. Members' commits and changes of what
	// was committed before are taken all the same, as long as the disk takes
	// them: they let the log be trimmed, which gives space back.
	Writable func() error
	// Exists says whether a partition exists; commits to others are refused.
	// Nil takes them all.
	Exists func(topic string, partition int32) bool
}

// Coordinator coordinates all groups of the broker. It is safe for concurrent
// use.
type Coordinator struct {
	cfg     Config
	log     *slog.Logger
	offsets *offsets.Store

	tickets atomic.Uint64
	highest atomic.Int32 // generation of any group
	ceiling atomic.Int32 // no generation is this high, by the journal
	raising sync.Mutex

	began time.Time     // what the clock counts from, in nanoseconds
	wake  atomic.Int64  // when the clock looks next
	nudge chan struct{} // has it look sooner
	stop  chan struct{}
	work  sync.WaitGroup

	mu     sync.Mutex
	cells  map[string]*cell
	closed bool
}

// Open loads the committed offsets from cfg.Dir, and the groups that had
// members, whose sessions begin now.
func Open(cfg Config) (*Coordinator, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Writable == nil {
		cfg.Writable = func() error { return nil }
	}
	if cfg.Exists == nil {
		cfg.Exists = func(string, int32) bool { return true }
	}
	store, err := offsets.Open(cfg.Dir, cfg.Sync, cfg.Log)
	if err != nil {
		return nil, err
	}
	c := &Coordinator{
		cfg: cfg, log: cfg.Log, offsets: store, cells: make(map[string]*cell),
		began: time.Now(), nudge: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	c.highest.Store(store.Ceiling())
	c.ceiling.Store(store.Ceiling())
	dead, err := c.restore(c.began)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	c.reserve()
	c.bury(dead)
	c.work.Go(c.clock)
	return c, nil
}

// Close answers everyone who waits, ends the clock, writes the commits that
// are queued and closes the journal. What is asked later is answered
// COORDINATOR_NOT_AVAILABLE.
func (c *Coordinator) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	cells := c.cells
	c.cells = nil
	c.mu.Unlock()
	close(c.stop)
	for _, g := range cells {
		g.close()
	}
	c.work.Wait()
	return c.offsets.Close()
}

// reserve makes the journal promise generations well above the highest. Who
// joins calls it first, for a generation begins with a join. When the promise
// fails, as on a full disk, the next join tries again; until then member ids
// alone tell members of before a restart from those of after it.
func (c *Coordinator) reserve() {
	enough := func() bool { return c.highest.Load() <= c.ceiling.Load()-step/2 }
	if enough() {
		return
	}
	c.raising.Lock()
	defer c.raising.Unlock()
	height := c.highest.Load()
	if enough() || height > math.MaxInt32-step {
		return
	}
	if err := c.offsets.Raise(height + step).Wait(); err != nil {
		if !errors.Is(err, offsets.ErrClosed) {
			c.log.Warn("generations could not be reserved", slog.Any("error", err))
		}
		return
	}
	c.ceiling.Store(height + step)
}

// reached notes a generation.
func (c *Coordinator) reached(generation int32) {
	for {
		highest := c.highest.Load()
		if generation <= highest || c.highest.CompareAndSwap(highest, generation) {
			return
		}
	}
}

// clock ticks the cells when something in them is due.
func (c *Coordinator) clock() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c.wake.Store(math.MaxInt64) // who changes while we look nudges
		now := int64(time.Since(c.began))
		next := int64(math.MaxInt64)
		for _, g := range c.all() {
			if due := g.next.Load(); due <= now {
				c.visit(g.name, false, func(g *cell, now time.Time) []machine.Reply { return g.machine.Tick(now) })
			}
			next = min(next, g.next.Load())
		}
		c.wake.Store(next)
		timer.Reset(time.Duration(next - now))
		select {
		case <-timer.C:
		case <-c.nudge:
		case <-c.stop:
			return
		}
	}
}

func (c *Coordinator) all() []*cell {
	c.mu.Lock()
	defer c.mu.Unlock()
	cells := make([]*cell, 0, len(c.cells))
	for _, g := range c.cells {
		cells = append(cells, g)
	}
	return cells
}
