package gate

import "container/list"

// line is who waits in a class: tenants by turns, the steps of each in the order
// they came. The zero value is empty.
type line struct {
	turns   list.List // of *party, whose turn comes first in front
	parties map[string]*party
	waiting int
}

// party is a tenant's steps that wait.
type party struct {
	tenant string
	steps  list.List // of *waiter
	turn   *list.Element
}

func (l *line) len() int { return l.waiting }

// push has w wait behind those of its tenant; a tenant that had none is the
// last whose turn comes.
func (l *line) push(w *waiter) {
	p, ok := l.parties[w.tenant]
	if !ok {
		if l.parties == nil {
			l.parties = make(map[string]*party)
		}
		p = &party{tenant: w.tenant}
		p.turn = l.turns.PushBack(p)
		l.parties[w.tenant] = p
	}
	w.party, w.place = p, p.steps.PushBack(w)
	l.waiting++
}

// pop takes the next out of the line, which is not empty.
func (l *line) pop() *waiter {
	p := l.turns.Front().Value.(*party)
	w := p.steps.Front().Value.(*waiter)
	l.remove(w)
	if p.steps.Len() > 0 {
		l.turns.MoveToBack(p.turn)
	}
	return w
}

// remove takes w out of the line.
func (l *line) remove(w *waiter) {
	p := w.party
	p.steps.Remove(w.place)
	l.waiting--
	if p.steps.Len() == 0 {
		l.turns.Remove(p.turn)
		delete(l.parties, p.tenant)
	}
}
