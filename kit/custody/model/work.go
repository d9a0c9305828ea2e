package model

import (
	"slices"

	"kurir.dev/kit/custody/mark"
)

// alive says whether the lease on the job's record holds.
func (w *world) alive(d *dispatcher, j *job) bool {
	s := d.sessions[w.home(j.mail)]
	return !j.over && s != nil && s.current
}

// jobSteps are what happens to a mail under way at dispatcher i.
func (w *world) jobSteps(i, n int, can, fault offer) {
	d := &w.dispatchers[i]
	j := &d.jobs[n]
	at := func(do func(w *world, d *dispatcher, j *job)) func(*world) {
		return func(w *world) { do(w, &w.dispatchers[i], &w.dispatchers[i].jobs[n]) }
	}
	switch j.phase {
	case begun:
		if w.alive(d, j) || w.break_ == noLeaseCheck {
			can(at((*world).arm), "%d asks for its lease on %v", i, j.release)
		}
		if j.attempt < w.attempts {
			can(at(func(w *world, d *dispatcher, j *job) { w.settle(d, j, deferred) }), "%d is told to try %v later", i, j.release)
		} else {
			can(at(func(w *world, d *dispatcher, j *job) { w.settle(d, j, bounced) }), "%d is told that %v will never do", i, j.release)
		}
	case noting, writing, deferring:
		can(at((*world).land), "the broker takes %d's record about %v", i, j.release)
		if j.phase != noting && !w.calm {
			fault(at(func(w *world, _ *dispatcher, j *job) { w.append(j) }), "the broker takes %d's record about %v and nobody hears of it", i, j.release)
		}
	case armed:
		can(at((*world).dot), "%d sends the dot of %v", i, j.release)
	case dotted:
		can(at(func(w *world, d *dispatcher, j *job) { w.settle(d, j, delivered) }), "%d reads that %v is delivered", i, j.release)
		if w.calm {
			return
		}
		fault(at((*world).doubt), "%d's connection is lost with %v", i, j.release)
	}
}

// arm is the last look before the dot. Mail to be held when in doubt is noted
// first, and looks once more when the note stands; other mail has to be within
// what a commit has promised, or waits for the next.
func (w *world) arm(d *dispatcher, j *job) {
	if w.holds(j.mail) {
		j.phase = noting
		return
	}
	may := true
	if s := d.sessions[w.home(j.mail)]; s != nil && len(j.offsets) > 0 {
		s.change(func(t *mark.Tracker) { may = t.Try(j.offsets[0]) })
	}
	if may || w.break_ == triedUntold {
		j.phase = armed
	}
}

// settle has an outcome written. What is no reply to a dot is not begun without
// a lease: the next owner may be sending the mail.
func (w *world) settle(d *dispatcher, j *job, k kind) {
	d.owed = owe(d.owed, note{j.release, k, j.noted})
	j.phase, j.wants = writing, k
	if (k == deferred || k == bounced) && j.over {
		w.giveBack(d, j)
	}
}

// dot is what cannot be taken back.
func (w *world) dot(d *dispatcher, j *job) {
	j.phase, j.sent = dotted, true
	f := &w.fates[j.mail]
	f.dots++
	if w.holds(j.mail) && f.dots > 1+f.decisions {
		w.wrong("mail %c, to be held when in doubt, was sent %d times with %d decisions", 'A'+j.mail, f.dots, f.decisions)
	}
	if f.dots > 1+f.excuses+f.decisions {
		w.wrong("mail %c was sent %d times, only %d of them after a dot that nobody could tell the end of", 'A'+j.mail, f.dots, f.excuses)
	}
	if bit := uint8(1) << j.attempt; !w.holds(j.mail) && !j.doubt {
		if f.unaware&bit != 0 {
			w.wrong("mail %c was sent a second time, and neither sender knew", 'A'+j.mail)
		}
		f.unaware |= bit
	}
	if w.break_ == completeAtDot {
		w.complete(d, j, -1)
	}
}

// doubt: the reply to the dot never comes.
func (w *world) doubt(d *dispatcher, j *job) {
	if !j.excused {
		w.fates[j.mail].excuses++
	}
	switch {
	case j.over:
		w.giveBack(d, j)
	case w.holds(j.mail) && w.break_ != doubtSentAgain:
		w.settle(d, j, held)
	default:
		j.phase, j.sent, j.excused, j.doubt = begun, false, false, true
	}
}

func owe(all []note, n note) []note {
	all = waive(all, n.release)
	at, _ := slices.BinarySearchFunc(all, n, func(a, b note) int { return a.compare(b.release) })
	return slices.Insert(all, at, n)
}

func waive(all []note, r release) []note {
	return slices.DeleteFunc(all, func(n note) bool { return n.release == r })
}

// append is a record that reaches its topic.
func (w *world) append(j *job) {
	p := w.home(j.mail)
	switch j.phase { //nolint:exhaustive // nothing of the others is on its way
	case noting:
		w.journals[p] = append(w.journals[p], note{release: j.release, kind: committing})
	case writing:
		w.journals[p] = append(w.journals[p], note{j.release, j.wants, j.noted})
		if j.wants.final() {
			w.end(j.mail, j.wants)
		}
	case deferring:
		next := j.release
		if w.break_ != sameAttempt {
			next.attempt++
		}
		if told := (note{release: next, kind: j.wants}); !slices.Contains(w.deferrals, told) {
			w.deferrals = append(w.deferrals, told)
		}
	}
}

// land is a record that reaches its topic, and the acknowledgement its writer.
func (w *world) land(d *dispatcher, j *job) {
	w.append(j)
	p := w.home(j.mail)
	end := int64(len(w.journals[p])) - 1
	switch {
	case j.phase == noting:
		d.owed = waive(d.owed, j.release)
		j.phase, j.noted = armed, true
		if !w.alive(d, j) && w.break_ != noSecondCheck {
			w.giveBack(d, j)
		}
	case j.phase == writing && j.wants.final() || j.phase == deferring:
		w.recall(d, p, note{j.release, j.wants, j.noted})
		d.owed = waive(d.owed, j.release)
		w.complete(d, j, end)
		d.jobs = slices.DeleteFunc(d.jobs, func(o job) bool { return o.release == j.release })
	case j.wants == deferred && !w.alive(d, j) && w.break_ != deferWithout: // the next owner reads the outcome and writes the deferral
		w.giveBack(d, j)
	default:
		j.phase = deferring
		if w.break_ == deferEarly {
			w.complete(d, j, end)
		}
	}
}

// complete lets go of the job's records.
func (w *world) complete(d *dispatcher, j *job, journal int64) {
	if len(j.offsets) == 0 {
		return
	}
	d.sessions[w.home(j.mail)].change(func(t *mark.Tracker) {
		for _, o := range j.offsets {
			t.Complete(o, journal)
		}
	})
	j.offsets = nil
}

// giveBack abandons a job: who owns its record now begins anew, knowing what
// the journal says.
func (w *world) giveBack(d *dispatcher, j *job) {
	if s := d.sessions[w.home(j.mail)]; len(j.offsets) > 0 {
		s.change(func(t *mark.Tracker) {
			for _, o := range j.offsets {
				t.Abandon(o)
			}
		})
		if s.current { // one that is lost will learn so before it reads again
			s.read = s.tracker.Low()
		}
	}
	d.jobs = slices.DeleteFunc(d.jobs, func(o job) bool { return o.release == j.release })
}
