package model

import (
	"cmp"
	"fmt"
	"slices"

	"kurir.dev/kit/custody/mark"
)

// rules are the size of a world and what may go wrong in it. The switches at
// the end break the protocol: each must be noticed.
type rules struct {
	dispatchers, partitions, mails int
	attempts                       uint8 // releases a mail has, the first counted
	faults                         int   // how many faults one history may have
	rewind                         int64 // journal records read back in addition
	hold                           []bool
	repeats                        bool // lane records may be told twice
	calm                           bool // no acknowledgement, reply or metadata is lost: only processes and leases are

	break_ breakage
}

// breakage is a protocol that is broken in one place.
type breakage string

// Breakages.
const (
	sound          breakage = ""
	completeAtDot  breakage = "a record is completed before its outcome is acknowledged"
	noFencing      breakage = "the group takes commits of members it has let go"
	noRecovery     breakage = "the journal is not read back"
	recoverTail    breakage = "only the last record of the journal is read back"
	deferEarly     breakage = "a record is completed before its deferral is acknowledged"
	deferWithout   breakage = "a deferral is written although the lease is lost"
	deferralWins   breakage = "the last word of the journal counts, even after a final one"
	deferralTakes  breakage = "a deferral takes back the committing note of another"
	deferralStays  breakage = "a committing note does not take back the deferral of another"
	debtWins       breakage = "what a process decided and did not write outweighs a successor's committing note"
	noLeaseCheck   breakage = "the lease is not asked before the dot"
	noSecondCheck  breakage = "the lease is not asked again once the committing note stands"
	noLimit        breakage = "records beyond the committed limit are handed out"
	sameAttempt    breakage = "a release keeps the attempt of the one before"
	forgetDeparted breakage = "the waiting room forgets what has left"
	coverUndone    breakage = "a commit covers what is handed out"
	commitUnread   breakage = "a commit's journal position is the journal's end"
	doubtSentAgain breakage = "mail in doubt is sent again though it is to be held"
	toldLate       breakage = "a record is told again after its outcome is out of the reach of the rewind"
	triedUntold    breakage = "mail is tried beyond what a commit has promised"
	cleanAlways    breakage = "a last commit tells of nothing tried, whatever is in flight"
	forgetFirst    breakage = "the waiting room forgets a mail before its release is acknowledged"
)

// kind is what a journal record says.
type kind uint8

const (
	nothing kind = iota
	committing
	deferred
	held
	delivered
	bounced
	cancelled
)

func (k kind) String() string {
	return [...]string{"nothing", "committing", "deferred", "held", "delivered", "bounced", "cancelled"}[k]
}

func (k kind) settles() bool { return k >= deferred }
func (k kind) final() bool   { return k >= delivered }

// release is one release of a mail: what a lane record carries.
type release struct{ mail, attempt uint8 }

func (r release) compare(o release) int {
	return cmp.Or(cmp.Compare(r.mail, o.mail), cmp.Compare(r.attempt, o.attempt))
}

func (r release) String() string { return fmt.Sprintf("%c%d", 'A'+r.mail, r.attempt) }

// note is a journal record, or an entry of a ledger.
type note struct {
	release
	kind  kind
	noted bool // its writer had written a committing note before it
}

// phase is how far a job is.
type phase uint8

const (
	begun     phase = iota // nothing is on the wire
	noting                 // the committing note is on its way
	armed                  // nothing is asked any more, the dot comes next
	dotted                 // the dot was sent, its reply is not read
	writing                // the outcome is on its way
	deferring              // it stands, and the deferral is on its way
)

// job is a mail under way at a dispatcher.
type job struct {
	release
	phase   phase
	wants   kind
	sent    bool    // its dot, since it was begun
	over    bool    // its lease has ended
	noted   bool    // that it is being sent
	doubt   bool    // it knows that there may have been a dot before
	excused bool    // the end of its lease or of its owner was counted already
	offsets []int64 // records that end with it, of the session at hand
}

// session is a partition in the hands of a dispatcher.
type session struct {
	current bool          // the group's latest generation dealt it
	read    int64         // next offset its reader delivers
	tracker *mark.Tracker // nil until it is taken over
	text    string        // of the tracker
}

// dispatcher is a process.
type dispatcher struct {
	sessions []*session // by partition, nil for none
	jobs     []job      // by release
	ledger   [][]note   // by partition
	owed     []note
}

// seat is a mail's place in the waiting room.
type seat struct {
	state    byte // 0 empty, 1 waits, 2 is held, 3 on its lane and not forgotten
	attempt  uint8
	departed uint8
}

// fate is what is true of a mail.
type fate struct {
	dots, excuses, decisions uint8
	unaware                  uint8 // attempts with a dot whose sender knew of no other, a bit each
	kept                     kind  // the final event that counts
}

// world is one state.
type world struct {
	*rules
	spent       int
	accepted    int // mails so far
	lanes       [][]release
	journals    [][]note
	commits     []commit
	dispatchers []dispatcher
	deferrals   []note // told and not taken into the room
	room        []seat
	fates       []fate
	broken      string // the first invariant that did not hold
}

type commit struct {
	low  int64
	text string
}

func (r *rules) begin() *world {
	w := &world{
		rules: r, lanes: make([][]release, r.partitions), journals: make([][]note, r.partitions),
		commits: make([]commit, r.partitions), room: make([]seat, r.mails), fates: make([]fate, r.mails),
	}
	for p := range w.commits {
		w.commits[p].low = -1
	}
	for range r.dispatchers {
		w.dispatchers = append(w.dispatchers, dispatcher{
			sessions: make([]*session, r.partitions), ledger: make([][]note, r.partitions),
		})
	}
	w.accept()
	return w
}

func (w *world) home(mail uint8) int { return int(mail) % w.partitions }

func (w *world) accept() {
	m := uint8(w.accepted)
	w.accepted++
	w.lanes[w.home(m)] = append(w.lanes[w.home(m)], release{m, 1})
}

// clone copies what may change in place; logs are only ever appended to.
func (w *world) clone() *world {
	c := *w
	c.lanes, c.journals = slices.Clone(w.lanes), slices.Clone(w.journals)
	for p := range c.lanes {
		c.lanes[p], c.journals[p] = slices.Clip(c.lanes[p]), slices.Clip(c.journals[p])
	}
	c.commits, c.deferrals = slices.Clone(w.commits), slices.Clone(w.deferrals)
	c.room, c.fates = slices.Clone(w.room), slices.Clone(w.fates)
	c.dispatchers = slices.Clone(w.dispatchers)
	for i := range c.dispatchers {
		d := &c.dispatchers[i]
		d.sessions, d.jobs = slices.Clone(d.sessions), slices.Clone(d.jobs)
		for j := range d.jobs {
			d.jobs[j].offsets = slices.Clone(d.jobs[j].offsets)
		}
		for p, s := range d.sessions {
			if s != nil {
				own := *s // its tracker is cloned when it changes
				d.sessions[p] = &own
			}
		}
		d.ledger, d.owed = slices.Clone(d.ledger), slices.Clone(d.owed)
		for p := range d.ledger {
			d.ledger[p] = slices.Clone(d.ledger[p])
		}
	}
	return &c
}

// change gives the session's tracker to f, alone.
func (s *session) change(f func(*mark.Tracker)) {
	s.tracker = s.tracker.Clone()
	f(s.tracker)
	s.text = s.tracker.String()
}

// key tells worlds apart, but for which dispatcher is which.
func (w *world) key() string {
	b := make([]byte, 0, 512)
	b = append(b, byte(w.spent), byte(w.accepted))
	for p := range w.lanes {
		b = append(b, byte(len(w.lanes[p])), byte(len(w.journals[p])))
		for _, r := range w.lanes[p] {
			b = append(b, r.mail, r.attempt)
		}
		b = notes(b, w.journals[p])
		b = append(b, byte(w.commits[p].low))
		b = append(append(b, w.commits[p].text...), 0)
	}
	b = notes(append(b, 'd'), w.deferrals)
	for m := range w.room {
		s, f := w.room[m], w.fates[m]
		b = append(b, s.state, s.attempt, s.departed, f.dots, f.excuses, f.decisions, f.unaware, byte(f.kept))
	}
	parts := make([]string, len(w.dispatchers))
	for i := range w.dispatchers {
		parts[i] = w.dispatchers[i].key()
	}
	slices.Sort(parts)
	for _, p := range parts {
		b = append(append(b, p...), '|')
	}
	return string(b)
}

func (d *dispatcher) key() string {
	b := make([]byte, 0, 256)
	for p, s := range d.sessions {
		if s != nil {
			b = append(b, 's', bit(s.current), byte(s.read))
			b = append(b, s.text...)
		}
		b = notes(append(b, 'l'), d.ledger[p])
	}
	for _, j := range d.jobs {
		b = append(b, 'j', j.mail, j.attempt, byte(j.phase), byte(j.wants), bit(j.sent), bit(j.over), bit(j.noted), bit(j.excused), bit(j.doubt))
		for _, o := range j.offsets {
			b = append(b, byte(o))
		}
	}
	return string(notes(append(b, 'o'), d.owed))
}

func notes(b []byte, all []note) []byte {
	for _, n := range all {
		b = append(b, n.mail, n.attempt, byte(n.kind), bit(n.noted))
	}
	return b
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// settled says that every mail accepted has its final event.
func (w *world) settled() bool {
	for m := range w.accepted {
		if !w.fates[m].kept.final() {
			return false
		}
	}
	return true
}

// wrong notes the first invariant that does not hold.
func (w *world) wrong(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
	}
}
