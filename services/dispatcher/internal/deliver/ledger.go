package deliver

import (
	"container/list"
	"sync"

	"kurir.dev/services/dispatcher/internal/journal"
)

// ledgerSize bounds what is remembered of each partition. Older outcomes are
// covered by the completed set of the partition's commits.
const ledgerSize = 16384

// ledger knows which lane records are under way and which are settled, so
// that a mail whose record comes twice, by an unsure producer or a new owner,
// goes out once. Safe for concurrent use.
type ledger[J comparable] struct {
	mu      sync.Mutex
	flight  map[journal.Key]J
	settled map[int]*shelf
	owed    map[journal.Key]debt // decided, and not known to be written
}

// debt is what was decided of a mail. noted is where this process had written
// that the dot is about to be sent; -1 for nowhere.
type debt struct {
	outcome journal.Outcome
	noted   int64
}

// counts says whether the debt holds against what the journal knows: it does
// not if another was at the dot since.
func (d debt) counts(known journal.Settled) bool {
	return known.Kind != journal.Committing || known.Offset == d.noted || d.outcome.Kind.Final()
}

// shelf is the newest outcomes of one partition.
type shelf struct {
	entries map[journal.Key]*list.Element
	order   *list.List // of shelved, the oldest first
	asked   map[journal.Key]struct{}
}

type shelved struct {
	key   journal.Key
	known journal.Settled
}

func newLedger[J comparable]() *ledger[J] {
	return &ledger[J]{flight: map[journal.Key]J{}, settled: map[int]*shelf{}, owed: map[journal.Key]debt{}}
}

// recall remembers an outcome of a partition. Of several for one record the
// last counts, unless the one before outweighs it.
func (l *ledger[J]) recall(partition int, key journal.Key, known journal.Settled) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.settled[partition]
	if !ok {
		s = &shelf{entries: map[journal.Key]*list.Element{}, order: list.New(), asked: map[journal.Key]struct{}{}}
		l.settled[partition] = s
	}
	if at, ok := s.entries[key]; ok {
		old, isShelved := at.Value.(shelved)
		if isShelved && (old.known.Offset > known.Offset || old.known.Outweighs(known)) { // read already, or outweighed
			return
		}
		s.order.Remove(at)
	}
	if known.Kind.Settles() {
		delete(l.owed, key)
	}
	s.entries[key] = s.order.PushBack(shelved{key, known})
	for looked := s.order.Len(); looked > 0 && s.order.Len() > ledgerSize; looked-- {
		oldest := s.order.Front()
		v, ok := oldest.Value.(shelved)
		if ok && !v.known.Kind.Settles() { // of a mail that has not ended: there are as many as are under way
			s.order.MoveToBack(oldest)
			continue
		}
		delete(s.entries, v.key)
		s.order.Remove(oldest)
	}
}

// owe remembers what was decided of a mail until that is recalled as written.
// A lease may end first, with the broker away for instance; whoever gets the
// record again in this process then writes what is known instead of sending
// the mail again. What other processes wrote for us is in the end forgotten.
func (l *ledger[J]) owe(key journal.Key, o journal.Outcome, noted int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owed[key] = debt{o, noted}
	if len(l.owed) > ledgerSize {
		for one := range l.owed {
			delete(l.owed, one)
			break
		}
	}
}

// waive forgets what is owed of a mail.
func (l *ledger[J]) waive(key journal.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.owed, key)
}

// debt is what was decided of a mail and not written; false for nothing.
func (l *ledger[J]) debt(key journal.Key) (debt, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.owed[key]
	return d, ok
}

// begin looks a record up: settled, under way, or new and now under way as
// job. Of one under way meet is asked, under the lock, whether to join it; if
// not, the new job takes its place.
func (l *ledger[J]) begin(partition int, key journal.Key, job J, meet func(J) bool) (known journal.Settled, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other, ok := l.flight[key]; ok && meet(other) {
		return journal.Settled{}, false
	}
	if s, ok := l.settled[partition]; ok {
		if at, ok := s.entries[key]; ok {
			if v, ok := at.Value.(shelved); ok {
				known = v.known
			}
		}
	}
	if known.Kind.Settles() {
		return known, false
	}
	l.flight[key] = job
	return known, true
}

// ask says whether it is the first time that is asked of a mail of the
// partition, since it was taken over.
func (l *ledger[J]) ask(partition int, key journal.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.settled[partition]
	if !ok {
		return false
	}
	_, asked := s.asked[key]
	s.asked[key] = struct{}{}
	return !asked
}

// end takes a job out of flight. last is called under the lock: nobody can
// meet the job afterwards.
func (l *ledger[J]) end(key journal.Key, job J, last func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flight[key] == job {
		delete(l.flight, key)
	}
	last()
}

// each calls f for every job in flight, under the lock.
func (l *ledger[J]) each(f func(J)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, job := range l.flight {
		f(job)
	}
}

// forget drops what is known of a partition.
func (l *ledger[J]) forget(partition int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.settled, partition)
}
