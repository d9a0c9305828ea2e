package store

import (
	"context"
	"slices"
	"sync"
	"time"
)

// rank says whose write goes first when several wait for SQLite's one writer.
type rank int

// The ranks, the first first.
const (
	rankUrgent rank = iota // admission of the highest lane
	rankFirst              // waiting mail of the highest lane on its way out
	rankIntake             // all other admission, and deferrals
	rankDue                // all other waiting mail on its way out
	rankPeople             // verbs, purges, sweeps
)

// ranks is how many there are.
const ranks = int(rankPeople) + 1

// patience is how many writers may pass one that waits before it is its turn
// whatever its rank: nobody starves.
const patience = 16

// slice is how long a turn lasts when anybody waits, the commit aside.
const slice = time.Millisecond

// turns gives one writer at a time its turn, by rank and then in the order of
// arrival, so that what is urgent waits for one transaction at most, however
// many others queue. A nil turns lets everybody write: PostgreSQL has as many
// writers as connections.
type turns struct {
	mu      sync.Mutex
	writing bool
	passed  int
	spared  bool // the turn is that of one whom others passed: it is not cut short
	lines   [ranks][]*turn
}

// turn is one who waits.
type turn struct {
	mine chan struct{} // closed when it is its turn
	gone bool
}

// take waits for a turn, which end gives up. The error is ctx's.
func (t *turns) take(ctx context.Context, r rank) (end func(), err error) {
	if t == nil {
		return func() {}, nil
	}
	t.mu.Lock()
	if !t.writing {
		t.writing, t.spared = true, false
		t.mu.Unlock()
		return t.end, nil
	}
	w := &turn{mine: make(chan struct{})}
	t.lines[r] = append(t.lines[r], w)
	t.mu.Unlock()
	select {
	case <-w.mine:
		return t.end, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-w.mine: // it came in the same moment
		t.next()
	default:
		w.gone = true
	}
	return nil, ctx.Err()
}

// over says whether the turn of r that began at a time shall end: somebody of a
// higher rank waits, or anybody does and it has lasted long. One that others
// passed lasts that long. Nil turns are always over.
func (t *turns) over(r rank, begun time.Time) bool {
	if t == nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	waiting := t.lines[:r]
	if time.Since(begun) >= slice {
		waiting = t.lines[:]
	} else if t.spared {
		return false
	}
	return slices.ContainsFunc(waiting, func(line []*turn) bool { return len(line) > 0 })
}

func (t *turns) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

// next gives the turn to the next; t.mu is held. Once enough have passed those
// of low rank, the lowest goes.
func (t *turns) next() {
	order := [ranks]int{}
	for i := range order {
		order[i] = i
		if t.passed >= patience {
			order[i] = ranks - 1 - i
		}
	}
	var chosen *turn
	for _, r := range order {
		if chosen = t.pop(r); chosen != nil {
			break
		}
	}
	if chosen == nil {
		t.writing, t.passed = false, 0
		return
	}
	if t.spared = t.passed >= patience; t.spared {
		t.passed = 0
	} else {
		t.passed++
	}
	close(chosen.mine)
}

// pop takes the first of a line who did not give up; nil when there is none.
func (t *turns) pop(r int) *turn {
	for line := t.lines[r]; len(line) > 0; line = t.lines[r] {
		w := line[0]
		line[0] = nil
		t.lines[r] = line[1:]
		if !w.gone {
			return w
		}
	}
	return nil
}
