package model

import (
	"slices"

	"kurir.dev/kit/custody/mark"
)

// ahead is how many records a commit promises beyond the next one.
const ahead = 1

// sessionSteps are what happens to a partition in the hands of dispatcher i.
func (w *world) sessionSteps(i, p int, s *session, can, fault offer) {
	if s.tracker == nil {
		if s.current {
			can(func(w *world) { w.takeOver(i, p) }, "%d takes %d over", i, p)
		}
		return
	}
	if s.current && s.read < int64(len(w.lanes[p])) {
		can(func(w *world) { w.fetch(i, p) }, "%d reads record %d of %d", i, s.read, p)
	}
	if !s.current && w.break_ != noFencing {
		return // its commit fails, which tells it no more than its heartbeat
	}
	m := s.tracker.Mark(ahead, w.rewind)
	if (commit{m.Low, m.Encode()}) == w.commits[p] && s.tracker.Room() >= ahead {
		return // nothing new
	}
	can(func(w *world) { w.commit(i, p, -1, true) }, "%d commits %d", i, p)
	if w.calm {
		return
	}
	fault(func(w *world) { w.commit(i, p, -1, false) }, "%d commits %d and does not hear of it", i, p)
	if len(m.Done) > 0 {
		fault(func(w *world) { w.commit(i, p, len(m.Done)-1, true) }, "%d commits %d, the metadata cut", i, p)
	}
}

// takeOver reads the last commit, makes the first, which proves the
// generation, and reads the journal back into the ledger.
func (w *world) takeOver(i, p int) {
	d := &w.dispatchers[i]
	s := d.sessions[p]
	m, problem := mark.Resume(w.commits[p].low, w.commits[p].text, 0, int64(len(w.lanes[p])))
	if problem != "" {
		w.wrong("a commit does not fit its log: %s", problem)
	}
	end := int64(len(w.journals[p]))
	s.tracker, s.read = mark.NewTracker(m, end), m.Low
	w.commit(i, p, -1, true)
	from := m.Journal
	if w.break_ == noRecovery {
		from = end
	}
	if w.break_ == recoverTail {
		from = max(from, end-1)
	}
	for _, n := range w.journals[p][from:end] {
		w.recall(d, p, n)
	}
}

// recall is the dispatcher's ledger, and outweighs its rule.
func (w *world) recall(d *dispatcher, p int, n note) {
	at, known := slices.BinarySearchFunc(d.ledger[p], n.release, func(e note, r release) int {
		return e.compare(r)
	})
	switch {
	case !known:
		d.ledger[p] = slices.Insert(d.ledger[p], at, n)
	case !w.outweighs(d.ledger[p][at], n):
		d.ledger[p][at] = n
	}
}

// outweighs says whether what the journal tells of a release stands against a
// later record. The last one counts, but nothing takes back a final one, and
// a deferral whose writer had lost its lease does not hide that its successor
// was at the dot: not when it comes after, and not when it came before.
func (w *world) outweighs(old, n note) bool {
	switch {
	case old.kind.final():
		return !n.kind.final() && w.break_ != deferralWins
	case old.kind == committing:
		return n.kind == deferred && !n.noted && w.break_ != deferralTakes
	case n.kind == committing:
		return old.kind == held || w.break_ == deferralStays
	}
	return false
}

// commit is fenced, and answered unless heard is false. keep cuts the done
// spans to so many; negative for all.
func (w *world) commit(i, p, keep int, heard bool) {
	w.commitAs(i, p, keep, heard, w.dispatchers[i].sessions[p].tracker.Mark(ahead, w.rewind))
}

// last is the commit of a session that ends well.
func (w *world) last(i, p int) {
	m := w.dispatchers[i].sessions[p].tracker.Last(ahead, w.rewind)
	if w.break_ == cleanAlways {
		m.Tried = m.Low
	}
	w.commitAs(i, p, -1, true, m)
}

func (w *world) commitAs(i, p, keep int, heard bool, m mark.Mark) {
	s := w.dispatchers[i].sessions[p]
	if keep >= 0 {
		m.Done = m.Done[:keep]
	}
	if w.break_ == coverUndone {
		m.Low, m.Done = s.tracker.Next(), nil
	}
	if w.break_ == commitUnread {
		m.Journal = int64(len(w.journals[p]))
	}
	if m.Low < w.commits[p].low {
		w.wrong("the committed offset of partition %d goes back from %d to %d", p, w.commits[p].low, m.Low)
	}
	if !s.current {
		w.wrong("dispatcher %d commits on partition %d, which it has lost", i, p)
	}
	w.commits[p] = commit{m.Low, m.Encode()}
	if heard {
		s.change(func(t *mark.Tracker) { t.Committed(m) })
	}
}

// fetch reads the next record and hands it to the dispatcher.
func (w *world) fetch(i, p int) {
	d := &w.dispatchers[i]
	s := d.sessions[p]
	offset := s.read
	var v mark.Verdict
	s.change(func(t *mark.Tracker) {
		if v, _ = t.Take(offset); v == mark.Wait && w.break_ == noLimit {
			t.Committed(mark.Mark{Limit: offset + 1})
			v, _ = t.Take(offset)
		}
	})
	switch v {
	case mark.Wait: // the committer does what it waits for
	case mark.Skip:
		s.read++
	case mark.Hand:
		s.read++
		w.handle(d, p, offset, w.lanes[p][offset])
	}
}

// handle takes a record over: what is settled is not sent again, what is under
// way is joined.
func (w *world) handle(d *dispatcher, p int, offset int64, r release) {
	if n := slices.IndexFunc(d.jobs, func(j job) bool { return j.release == r }); n >= 0 {
		d.jobs[n].offsets = append(d.jobs[n].offsets, offset)
		return
	}
	j := job{release: r, offsets: []int64{offset}, doubt: d.sessions[p].tracker.Again(offset)}
	known, debt := find(d.ledger[p], r), find(d.owed, r)
	switch {
	case known.kind.final():
		d.sessions[p].change(func(t *mark.Tracker) { t.Complete(offset, -1) })
		return
	case known.kind.settles():
		j.phase, j.wants = deferring, known.kind
	case debt.kind.settles() && (!w.outweighs(known, debt) || w.break_ == debtWins):
		j.phase, j.wants, j.noted = writing, debt.kind, debt.noted
	case known.kind == committing && w.holds(r.mail) && w.break_ != doubtSentAgain:
		j.phase, j.wants = writing, held
	}
	d.jobs = append(d.jobs, j)
	slices.SortFunc(d.jobs, func(a, b job) int { return a.compare(b.release) })
}

func (w *world) holds(mail uint8) bool { return w.hold[int(mail)%len(w.hold)] }

func find(all []note, r release) note {
	for _, n := range all {
		if n.release == r {
			return n
		}
	}
	return note{}
}
