package model

import (
	"fmt"
	"slices"
)

// step is something that can happen in a world. A fault is paid for out of
// rules.faults, or there would be no end to them.
type step struct {
	fault  bool
	do     func(w *world)
	format string
	args   []any
}

func (s step) label() string { return fmt.Sprintf(s.format, s.args...) }

// steps lists what can happen in w.
func (w *world) steps() []step {
	var all []step
	can := func(do func(w *world), format string, args ...any) {
		all = append(all, step{false, do, format, args})
	}
	fault := func(do func(w *world), format string, args ...any) {
		if w.spent < w.faults {
			all = append(all, step{true, do, format, args})
		}
	}
	if w.accepted < w.mails {
		can((*world).accept, "mail %c is accepted", 'A'+w.accepted)
	}
	if w.repeats {
		for p, lane := range w.lanes {
			for i, r := range lane {
				if !slices.Contains(lane[i+1:], r) {
					fault(func(w *world) { w.lanes[p] = append(w.lanes[p], r) }, "lane record %v is told twice", r)
				}
			}
		}
	}
	w.groupSteps(can, fault)
	for i := range w.dispatchers {
		w.dispatcherSteps(i, can, fault)
	}
	w.roomSteps(can, fault)
	return all
}

type offer func(do func(w *world), format string, args ...any)

// groupSteps: the group deals its partitions anew. A member takes part once it
// has let go of what it had; one that has not is taken for dead.
func (w *world) groupSteps(can, fault offer) {
	var free []int
	robbed := false
	for i := range w.dispatchers {
		d := &w.dispatchers[i]
		had, current := false, false
		for _, s := range d.sessions {
			had, current = had || s != nil, current || s != nil && s.current
		}
		if !had {
			free = append(free, i)
		}
		robbed = robbed || current
	}
	if len(free) == 0 {
		return
	}
	deal := can
	if robbed {
		deal = fault
	}
	owners := make([]int, w.partitions)
	for n := 0; ; n++ {
		rest := n
		for p := range owners {
			owners[p] = free[rest%len(free)]
			rest /= len(free)
		}
		if rest > 0 {
			return
		}
		to := slices.Clone(owners)
		deal(func(w *world) { w.deal(to) }, "the group deals its partitions to %v, robbing others: %v", to, robbed)
	}
}

func (w *world) deal(owners []int) {
	for i := range w.dispatchers {
		d := &w.dispatchers[i]
		for p, s := range d.sessions {
			if s != nil && s.current {
				s.current = false
				w.excuse(d, p)
			}
		}
		w.drop(i, true)
	}
	for p, i := range owners {
		w.dispatchers[i].sessions[p] = &session{current: true}
	}
}

// excuse counts the mails that may go out once more now that the lease of d on
// p is over: their dot may be on the wire, and no outcome tells of it.
func (w *world) excuse(d *dispatcher, p int) {
	for i := range d.jobs {
		j := &d.jobs[i]
		if w.home(j.mail) == p && !j.excused && (j.sent && j.phase <= writing || j.phase == armed) {
			j.excused = true
			w.fates[j.mail].excuses++
		}
	}
}

// dispatcherSteps are the steps of one process.
func (w *world) dispatcherSteps(i int, can, fault offer) {
	d := &w.dispatchers[i]
	onTheWay := []int{-1} // what of its records lands though it dies
	for n, j := range d.jobs {
		if j.phase == noting || j.phase == writing || j.phase == deferring {
			onTheWay = append(onTheWay, n)
		}
	}
	for _, n := range onTheWay {
		fault(func(w *world) {
			if n >= 0 {
				w.append(&w.dispatchers[i].jobs[n])
			}
			w.crash(i)
		}, "%d is killed and starts again, what lands of its records: %d", i, n)
	}
	if w.bound(d) {
		fault(func(w *world) { w.leave(i) }, "%d leaves the group before all replies are in", i)
	} else if slices.ContainsFunc(d.sessions, func(s *session) bool { return s != nil && s.current }) {
		can(func(w *world) { w.leave(i) }, "%d drains, commits and leaves", i)
	}
	if slices.ContainsFunc(d.sessions, func(s *session) bool { return s != nil && !s.current }) {
		can(func(w *world) { w.drop(i, false) }, "%d learns that its lease is lost", i)
	}
	for p, s := range d.sessions {
		if s != nil {
			w.sessionSteps(i, p, s, can, fault)
		}
	}
	for n := range d.jobs {
		w.jobSteps(i, n, can, fault)
	}
}

// bound says whether the process holds a lease and has mail at its dot or
// beyond.
func (w *world) bound(d *dispatcher) bool {
	for _, j := range d.jobs {
		if s := d.sessions[w.home(j.mail)]; j.phase >= armed && !j.over && s != nil && s.current {
			return true
		}
	}
	return false
}

func (w *world) crash(i int) {
	d := &w.dispatchers[i]
	for n := range d.jobs {
		j := &d.jobs[n]
		if !j.excused && j.sent && j.phase <= writing {
			w.fates[j.mail].excuses++
		}
	}
	*d = dispatcher{sessions: make([]*session, w.partitions), ledger: make([][]note, w.partitions)}
}

// leave ends the process's sessions with a last commit.
func (w *world) leave(i int) {
	d := &w.dispatchers[i]
	for p, s := range d.sessions {
		if s == nil || !s.current {
			continue
		}
		if s.tracker != nil {
			w.last(i, p)
		}
		s.current = false
		w.excuse(d, p)
	}
	w.drop(i, false)
}

// drop lets go of partitions that are lost; of idle ones only, if so asked:
// they have nothing to lose by knowing. Mail that is not at its dot is
// abandoned, and comes to the next owner; the rest goes on.
func (w *world) drop(i int, idle bool) {
	d := &w.dispatchers[i]
	for p, s := range d.sessions {
		if s == nil || s.current || idle && slices.ContainsFunc(d.jobs, func(j job) bool { return w.home(j.mail) == p && !j.over }) {
			continue
		}
		d.sessions[p], d.ledger[p] = nil, nil
		d.jobs = slices.DeleteFunc(d.jobs, func(j job) bool { return w.home(j.mail) == p && j.phase < armed })
		for n := range d.jobs {
			if w.home(d.jobs[n].mail) == p {
				d.jobs[n].over, d.jobs[n].offsets = true, nil
			}
		}
	}
}

// roomSteps: the router takes deferrals in, and sees mail out; an operator
// decides about what is held.
func (w *world) roomSteps(can, fault offer) {
	for n, told := range w.deferrals {
		can(func(w *world) { w.take(n) }, "the room takes %v in", told.release)
	}
	for m := range w.room {
		r := release{uint8(m), w.room[m].attempt}
		switch w.room[m].state {
		case 1:
			can(func(w *world) { w.put(m) }, "the room puts %v onto its lane", r)
			if w.break_ == forgetFirst {
				fault(func(w *world) { w.depart(m) }, "the room forgets %v, then the router dies", r)
			}
		case 2:
			can(func(w *world) {
				w.room[m].state = 1
				w.fates[m].decisions++
			}, "an operator has %v sent", r)
			can(func(w *world) {
				w.depart(m)
				w.end(r.mail, cancelled)
			}, "an operator cancels %v", r)
		case 3:
			can(func(w *world) { w.depart(m) }, "the room forgets %v", r)
			if w.repeats {
				fault(func(w *world) { w.put(m) }, "the router dies before it forgets %v, and puts it onto its lane again", r)
			}
		}
	}
}

// take brings a deferral into the room; one that was there is passed over.
func (w *world) take(n int) {
	told := w.deferrals[n]
	w.deferrals = slices.Delete(w.deferrals, n, n+1)
	s := &w.room[told.mail]
	if told.attempt <= s.departed || s.state > 0 && told.attempt <= s.attempt {
		return
	}
	s.state, s.attempt = 1, told.attempt
	if told.kind == held {
		s.state = 2
	}
}

func (w *world) put(m int) {
	s := &w.room[m]
	r := release{uint8(m), s.attempt}
	w.lanes[w.home(r.mail)] = append(w.lanes[w.home(r.mail)], r)
	s.state = 3
}

func (w *world) depart(m int) {
	s := &w.room[m]
	if w.break_ != forgetDeparted {
		s.departed = s.attempt
	}
	s.state, s.attempt = 0, 0
}

// end tells a mail's final event; the first counts.
func (w *world) end(mail uint8, k kind) {
	if f := &w.fates[mail]; !f.kept.final() {
		f.kept = k
	}
}
