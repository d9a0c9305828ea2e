package model

import (
	"fmt"
	"slices"
)

// patience bounds how many rounds a world may need to come to its end.
const patience = 60

// finish lets everything go well from here on: nobody dies, every record
// arrives, every reply is read, an operator cancels what is held. It is false
// when an invariant breaks on the way or a mail never comes to its end. tell,
// unless nil, hears of each step.
func (w *world) finish(tell func(label string)) bool {
	if tell == nil {
		tell = func(string) {}
	}
	for range patience {
		if w.broken != "" {
			return false
		}
		if w.settled() && w.accepted == w.mails {
			return true
		}
		w.round(tell)
	}
	for m := range w.accepted {
		if !w.fates[m].kept.final() {
			w.wrong("mail %c is lost: all goes well, and it never comes to its end", 'A'+m)
		}
	}
	return false
}

// round is a step of everyone who can take one.
func (w *world) round(tell func(string)) {
	if w.accepted < w.mails {
		w.accept()
		tell("the next mail is accepted")
	}
	for i := range w.dispatchers {
		d := &w.dispatchers[i]
		for _, r := range releases(d.jobs) {
			if n := slices.IndexFunc(d.jobs, func(j job) bool { return j.release == r }); n >= 0 {
				tell(fmt.Sprintf("%d goes on with %v", i, r))
				w.advance(d, &d.jobs[n])
			}
		}
	}
	w.assign(tell)
	for i := range w.dispatchers {
		for p, s := range w.dispatchers[i].sessions {
			if s == nil || !s.current {
				continue
			}
			if s.tracker == nil {
				tell(fmt.Sprintf("%d takes %d over", i, p))
				w.takeOver(i, p)
			}
			if s.read < int64(len(w.lanes[p])) {
				tell(fmt.Sprintf("%d reads record %d of %d", i, s.read, p))
				w.fetch(i, p)
			}
			w.commit(i, p, -1, true)
		}
	}
	for m := range w.room {
		if n := slices.IndexFunc(w.deferrals, func(n note) bool { return int(n.mail) == m }); n >= 0 {
			w.take(n)
			tell("the room takes a mail in")
		}
		w.wait(m, tell)
	}
}

func releases(jobs []job) []release {
	all := make([]release, len(jobs))
	for i, j := range jobs {
		all[i] = j.release
	}
	return all
}

// assign sees to it that every partition has an owner.
func (w *world) assign(tell func(string)) {
	owned := 0
	for i := range w.dispatchers {
		w.drop(i, false)
		for _, s := range w.dispatchers[i].sessions {
			if s != nil {
				owned++
			}
		}
	}
	if owned == w.partitions {
		return
	}
	for i := range w.dispatchers {
		w.leave(i)
	}
	w.deal(make([]int, w.partitions))
	tell("all leave and 0 gets everything")
}

// advance takes the next step with a mail, and it goes well.
func (w *world) advance(d *dispatcher, j *job) {
	switch j.phase {
	case begun:
		if w.alive(d, j) {
			w.arm(d, j)
		}
	case noting, writing, deferring:
		w.land(d, j)
	case armed:
		w.dot(d, j)
	case dotted:
		w.settle(d, j, delivered)
	}
}

// wait takes the next step with a mail in the waiting room.
func (w *world) wait(m int, tell func(string)) {
	s := &w.room[m]
	switch s.state {
	case 1:
		w.put(m)
	case 2:
		w.depart(m)
		w.end(uint8(m), cancelled)
	case 3:
		w.depart(m)
	default:
		return
	}
	tell("the room goes on with a mail")
}
