// Package queue decides who goes next: the lane first, then, within the lane,
// the tenant.
//
// Lanes go by rank, the lowest first, so that an urgent mail waits for nobody;
// but each lane with a floor gets that share of the turns even while lanes
// above it have mail, so that none starves. Tenants of a lane share by deficit
// round robin over bytes: a tenant with a million mails does not delay one
// with ten.
//
// A Queue is not safe for concurrent use: whoever owns it locks.
package queue

import "container/list"

// Lane is what the queue needs to know of a lane.
type Lane struct {
	// Name names it; Rank orders it, the lowest first.
	Name string
	// Rank orders lanes, the lowest first.
	Rank int
	// FloorPercent of the turns are the lane's while it has mail.
	FloorPercent int
	// Urgent says that it is the first-ranked lane of the installation, for
	// which package site keeps connections and tokens.
	Urgent bool
}

// Deficit round robin in bytes: a tenant's turn is worth a quantum, and no
// mail is cheaper than minCost.
const (
	quantum = 16 << 10
	minCost = 2 << 10
)

// Queue holds items of type T.
type Queue[T any] struct {
	lanes  []*lane[T]
	byName map[string]*lane[T]
	size   int
}

type lane[T any] struct {
	Lane
	credit  int        // of turns, in percent; 100 make one
	tenants *list.List // of *tenant[T], those with mail; the front has the turn
	byName  map[string]*list.Element
	size    int
}

type tenant[T any] struct {
	name    string
	deficit int
	items   *list.List // of *Item[T]
}

// Item is one entry of a queue, kept to remove it early.
type Item[T any] struct {
	Value T
	cost  int
	lane  *lane[T]
	who   *tenant[T]
	at    *list.Element // nil once it has left
}

// Turn is what goes next.
type Turn[T any] struct {
	Value T
	// Lane it waited in, Tenant whose it is.
	Lane, Tenant string
}

// New makes a queue for lanes given by rising rank.
func New[T any](lanes []Lane) *Queue[T] {
	q := &Queue[T]{byName: make(map[string]*lane[T], len(lanes))}
	for _, l := range lanes {
		entry := &lane[T]{Lane: l, tenants: list.New(), byName: map[string]*list.Element{}}
		q.lanes = append(q.lanes, entry)
		q.byName[l.Name] = entry
	}
	return q
}

// Push adds a value of so many bytes at the end of its tenant's mail in its
// lane; nil if the lane is not one of the queue's.
func (q *Queue[T]) Push(laneName, tenantName string, bytes int, value T) *Item[T] {
	l, ok := q.byName[laneName]
	if !ok {
		return nil
	}
	turn, ok := l.byName[tenantName]
	if !ok {
		turn = l.tenants.PushBack(&tenant[T]{name: tenantName, items: list.New()})
		l.byName[tenantName] = turn
	}
	who := held[*tenant[T]](turn)
	item := &Item[T]{Value: value, cost: max(bytes, minCost), lane: l, who: who}
	item.at = who.items.PushBack(item)
	l.size++
	q.size++
	return item
}

// Remove takes an item out early; false if it has left already.
func (q *Queue[T]) Remove(item *Item[T]) bool {
	if item == nil || item.at == nil {
		return false
	}
	q.take(item)
	return true
}

// Pop takes the next item of the lanes that may go now. free answers whether
// a lane may, and is asked at most once a lane; fits, whether a tenant of it
// may. Nil means all may.
func (q *Queue[T]) Pop(free func(lane string) bool, fits func(lane, tenant string) bool) (Turn[T], bool) {
	if fits == nil {
		fits = func(string, string) bool { return true }
	}
	var chosen, first *lane[T]
	for _, l := range q.lanes {
		if !l.fits(fits) || free != nil && !free(l.Name) {
			continue
		}
		if first == nil {
			first = l
			continue // it has the turn anyway
		}
		l.credit = min(l.credit+l.FloorPercent, 200)
		if chosen == nil && l.credit >= 100 {
			chosen = l
		}
	}
	if first == nil {
		return Turn[T]{}, false
	}
	if chosen == nil {
		chosen = first
	} else {
		chosen.credit -= 100
	}
	return q.next(chosen, fits), true
}

// fits says whether one of the tenants with mail may go.
func (l *lane[T]) fits(fits func(lane, tenant string) bool) bool {
	for e := l.tenants.Front(); e != nil; e = e.Next() {
		if fits(l.Name, held[*tenant[T]](e).name) {
			return true
		}
	}
	return false
}

// next serves the tenant whose turn it is, of those that may go, by deficit
// round robin. One of them may.
func (q *Queue[T]) next(l *lane[T], fits func(lane, tenant string) bool) Turn[T] {
	for {
		turn := l.tenants.Front()
		who := held[*tenant[T]](turn)
		if !fits(l.Name, who.name) {
			l.tenants.MoveToBack(turn)
			continue
		}
		item := held[*Item[T]](who.items.Front())
		if l.tenants.Len() == 1 {
			who.deficit = item.cost // alone: nothing to share
		}
		if who.deficit >= item.cost {
			who.deficit -= item.cost
			q.take(item)
			return Turn[T]{Value: item.Value, Lane: l.Name, Tenant: who.name}
		}
		who.deficit += quantum
		l.tenants.MoveToBack(turn)
	}
}

func (q *Queue[T]) take(item *Item[T]) {
	l, who := item.lane, item.who
	who.items.Remove(item.at)
	item.at = nil
	l.size--
	q.size--
	if who.items.Len() == 0 {
		l.tenants.Remove(l.byName[who.name])
		delete(l.byName, who.name)
	}
	if l.size == 0 {
		l.credit = 0
	}
}

// Len is how many items wait.
func (q *Queue[T]) Len() int { return q.size }

// LaneLen is how many items of a lane wait.
func (q *Queue[T]) LaneLen(name string) int {
	if l, ok := q.byName[name]; ok {
		return l.size
	}
	return 0
}

// Lanes calls f for each lane that has items.
func (q *Queue[T]) Lanes(f func(name string, waiting int)) {
	for _, l := range q.lanes {
		if l.size > 0 {
			f(l.Name, l.size)
		}
	}
}

// Drain takes out every item of a lane.
func (q *Queue[T]) Drain(name string) []T {
	l, ok := q.byName[name]
	if !ok {
		return nil
	}
	values := make([]T, 0, l.size)
	for l.size > 0 {
		turn, _ := q.Pop(func(lane string) bool { return lane == name }, nil)
		values = append(values, turn.Value)
	}
	return values
}

// held is what a list's element holds; the lists of this package hold one type
// each.
func held[V any](e *list.Element) V {
	v, ok := e.Value.(V)
	if !ok {
		panic("queue: a list holds a foreign type")
	}
	return v
}
