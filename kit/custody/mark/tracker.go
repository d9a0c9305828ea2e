package mark

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// growth is by how much a record that is not done yet may lengthen the
// metadata. The worst is every second one done: then two cost a span of the
// shortest kind, "1,1;".
const growth = 2

// slack is what the numbers before the spans, and those of the spans that get
// a digit longer, may add.
const slack = 128

// maxFloors bounds how many floors a tracker keeps.
const maxFloors = 1024

// Verdict is what becomes of a record that was read.
type Verdict int

// Verdicts of [Tracker.Take].
const (
	// Hand it out; it is outstanding now.
	Hand Verdict = iota
	// Skip it: it is done, or handed out already.
	Skip
	// Wait: it lies at or above the committed limit. Commit, then take again.
	Wait
)

// Tracker follows one partition while it is owned: what was handed out, what
// of it is done. Not safe for concurrent use.
type Tracker struct {
	low   int64
	done  []Span // ascending, apart, above low
	count int64  // of the offsets in done
	next  int64  // one above the highest offset taken or known to be absent
	limit int64  // committed: nothing at or above it may be handed out
	spare int64  // committed: nothing at or above it may be tried
	tried int64  // one above the highest offset tried or to be tried

	out       map[int64]bool // handed out, not done; whether tried
	abandoned map[int64]bool // given back, not handed out again; whether tried

	before Mark  // the mark it began with: below its limit, its journal position holds
	head   int64 // lower bound of the journal's end; negative without a journal
	// floors say from where the journal must be read for the records at or
	// above an offset that nobody had before; ascending in both.
	floors []floor
}

type floor struct{ offset, journal int64 }

// NewTracker continues from a committed mark. head is the end of the journal
// as the new owner read it; negative without one.
func NewTracker(m Mark, head int64) *Tracker {
	return &Tracker{
		low: m.Low, next: m.Low, limit: m.Low, spare: m.Low, tried: m.Low, done: slices.Clone(m.Done), count: m.Count(), before: m, head: head,
		out: make(map[int64]bool), abandoned: make(map[int64]bool),
	}
}

// Clone returns a tracker of its own that stands where t does.
func (t *Tracker) Clone() *Tracker {
	c := *t
	c.done, c.floors = slices.Clone(t.done), slices.Clone(t.floors)
	c.out, c.abandoned = maps.Clone(t.out), maps.Clone(t.abandoned)
	return &c
}

// String is the whole of the tracker's state in one line: two trackers with
// the same text behave alike for ever.
func (t *Tracker) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "low %d next %d limit %d tried %d/%d done %v out %v abandoned %v journal %d before %d/%d/%d", // maps print sorted
		t.low, t.next, t.limit, t.tried, t.spare, t.done, t.out, t.abandoned, t.head, t.before.Limit, t.before.Tried, t.before.Journal)
	for _, f := range t.floors {
		fmt.Fprintf(&b, " floor %d/%d", f.offset, f.journal)
	}
	return b.String()
}

// Low is the lowest offset that is not done.
func (t *Tracker) Low() int64 { return t.low }

// Next is one above the highest offset taken.
func (t *Tracker) Next() int64 { return t.next }

// Room is how many offsets may still be handed out before the next commit.
func (t *Tracker) Room() int64 { return t.limit - t.next }

// Outstanding is how many records are handed out and not done.
func (t *Tracker) Outstanding() int { return len(t.out) }

// Abandoned is how many records were given back and are to be read again.
func (t *Tracker) Abandoned() int { return len(t.abandoned) }

// Take says what to do with the record at offset, which was read from the
// partition. gap is how many offsets before it, at or above Next, do not
// exist; they count as done.
func (t *Tracker) Take(offset int64) (v Verdict, gap int64) {
	gap = t.reach(offset)
	_, out := t.out[offset]
	switch {
	case out || offset < t.low || t.isDone(offset):
		t.next = max(t.next, offset+1)
		return Skip, gap
	case offset >= t.limit:
		return Wait, gap
	}
	if offset >= t.next { // given back and taken again, it keeps its floor
		t.floorAt(offset)
	}
	t.next = max(t.next, offset+1)
	t.out[offset] = t.abandoned[offset]
	delete(t.abandoned, offset)
	return Hand, gap
}

// Try says that the record at offset, which is handed out, is about to be tried
// in a way that cannot be taken back. It is false when the next owner would not
// know: commit, then try again.
func (t *Tracker) Try(offset int64) bool {
	if _, ok := t.out[offset]; !ok {
		return true
	}
	t.tried = max(t.tried, offset+1)
	if offset >= t.spare {
		return false
	}
	t.out[offset] = true
	return true
}

// Tried is one above the highest offset tried.
func (t *Tracker) Tried() int64 { return t.tried }

// Again says whether an owner before may have tried the record at offset, and
// not come to tell.
func (t *Tracker) Again(offset int64) bool { return offset < t.before.Tried }

// reach moves next up to offset. What it leaps over was never read: it is
// absent from the log, unless it was done before.
func (t *Tracker) reach(offset int64) (gap int64) {
	for t.next < offset {
		i, in := t.find(t.next)
		if in {
			t.next = t.done[i].End
			continue
		}
		end := offset
		if i < len(t.done) {
			end = min(end, t.done[i].Start)
		}
		gap += end - t.next
		t.insert(t.next, end)
		t.next = end
	}
	return gap
}

// floorAt notes from where the journal matters for a record that is read for
// the first time.
func (t *Tracker) floorAt(offset int64) {
	n := len(t.floors)
	if offset < t.before.Limit || n > 0 && t.floors[n-1].journal >= t.head {
		return
	}
	if len(t.floors) >= maxFloors { // coarser, and lower, is safe
		kept := t.floors[:0]
		for i := 0; i < len(t.floors); i += 2 {
			kept = append(kept, t.floors[i])
		}
		t.floors = kept
	}
	t.floors = append(t.floors, floor{offset: offset, journal: t.head})
}

// Complete says that the record at offset is done, and that the journal
// reaches beyond the given offset; negative for none. It is false when the
// record was not handed out.
func (t *Tracker) Complete(offset, journal int64) bool {
	if _, ok := t.out[offset]; !ok {
		return false
	}
	delete(t.out, offset)
	t.insert(offset, offset+1)
	if t.head >= 0 {
		t.head = max(t.head, journal+1)
	}
	return true
}

// Abandon gives the record back undone: it may be taken again. It is false
// when the record was not handed out.
func (t *Tracker) Abandon(offset int64) bool {
	tried, ok := t.out[offset]
	if !ok {
		return false
	}
	delete(t.out, offset)
	t.abandoned[offset] = tried
	return true
}

// Mark is what to commit now: with the promise to hand out nothing at or
// above ahead records beyond Next, and to try nothing at or above [Spare]
// records, or ahead if that is less, beyond Tried. rewind is read back of the journal in
// addition. Report the commit's success with [Tracker.Committed].
func (t *Tracker) Mark(ahead, rewind int64) Mark {
	m := Mark{
		Low: t.low, Done: slices.Clone(t.done), Journal: -1,
		Limit: max(t.next+ahead, t.limit, min(t.before.Limit, Unlimited)),
	}
	m.Tried = min(max(t.tried+min(ahead, Spare), t.spare, t.doubtful()), m.Limit)
	switch {
	case t.head < 0:
	case t.low < t.before.Limit: // what the owner before handed out is not all done
		m.Journal = max(t.before.Journal, 0)
	default:
		m.Journal = max(t.floor()-rewind, 0)
	}
	return m
}

// Last is what to commit when nothing will be tried any more: a [Tracker.Mark]
// whose Tried is one above the highest record tried whose end is not known.
func (t *Tracker) Last(ahead, rewind int64) Mark {
	m := t.Mark(ahead, rewind)
	m.Tried = t.doubtful()
	for _, some := range []map[int64]bool{t.out, t.abandoned} {
		for offset, tried := range some {
			if tried {
				m.Tried = max(m.Tried, offset+1)
			}
		}
	}
	return m
}

// doubtful is below where there are records whose end owners before did not
// come to tell.
func (t *Tracker) doubtful() int64 { return max(t.low, min(t.before.Tried, Unlimited)) }

// floor is from where the journal must be read for all that is not done.
func (t *Tracker) floor() int64 {
	i := 0
	for i+1 < len(t.floors) && t.floors[i+1].offset <= t.low {
		i++
	}
	t.floors = slices.Delete(t.floors, 0, i)
	if t.low >= t.next || len(t.floors) == 0 {
		return t.head
	}
	return t.floors[0].journal
}

// Committed says that m stands: records below its limits may be handed out and
// tried.
func (t *Tracker) Committed(m Mark) {
	t.limit = max(t.limit, m.Limit)
	t.spare = max(t.spare, m.Tried)
}

// Full says that the record at offset must not be taken yet: with it, the
// metadata might outgrow [MaxBytes] before what is handed out is done, and the
// spans that do not fit would be forgotten. Records in the gaps between spans
// may always be taken: only they make room.
func (t *Tracker) Full(offset int64) bool {
	top := t.top()
	if offset < top {
		return false
	}
	open := int(min(offset+1-t.low-t.count, MaxBytes))
	room := MaxBytes - slack - growth*open
	// No gap and no run is longer than all there is: a bound that is cheap.
	if len(t.done)*(2*digits(offset-t.low)+2) <= room {
		return false
	}
	return len(Mark{Low: t.low, Done: t.done, Limit: t.limit, Tried: t.limit, Journal: max(t.head, 0)}.text()) > room
}

// digits is how long a number is in the metadata.
func digits(n int64) int {
	d := 1
	for ; n >= base; n /= base {
		d++
	}
	return d
}

// top is the offset after the last one that is done or was taken.
func (t *Tracker) top() int64 {
	if n := len(t.done); n > 0 {
		return max(t.next, t.done[n-1].End)
	}
	return t.next
}

// Size is how long the metadata of a commit would be now, at most [MaxBytes].
func (t *Tracker) Size() int { return len(t.Mark(0, 0).Encode()) }

// find returns the index of the first span that ends above offset, and
// whether offset is in it.
func (t *Tracker) find(offset int64) (int, bool) { return find(t.done, offset) }

func find(done []Span, offset int64) (int, bool) {
	i, _ := slices.BinarySearchFunc(done, offset, func(s Span, o int64) int {
		if s.End <= o {
			return -1
		}
		return 1
	})
	return i, i < len(done) && done[i].Start <= offset
}

func (t *Tracker) isDone(offset int64) bool {
	_, in := t.find(offset)
	return in
}

// insert adds [start, end), of which nothing is done, to the done spans and
// raises low over what touches it.
func (t *Tracker) insert(start, end int64) {
	t.count += end - start
	i, _ := t.find(start)
	joinsLeft := i > 0 && t.done[i-1].End == start
	joinsRight := i < len(t.done) && t.done[i].Start == end
	switch {
	case joinsLeft && joinsRight:
		t.done[i-1].End = t.done[i].End
		t.done = slices.Delete(t.done, i, i+1)
	case joinsLeft:
		t.done[i-1].End = end
	case joinsRight:
		t.done[i].Start = start
	default:
		t.done = slices.Insert(t.done, i, Span{Start: start, End: end})
	}
	if t.done[0].Start <= t.low {
		t.low = max(t.low, t.done[0].End)
		t.count -= t.done[0].End - t.done[0].Start
		t.done = slices.Delete(t.done, 0, 1)
	}
}
