package mark_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kurir.dev/kit/custody/mark"
)

func TestEncodeParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		mark mark.Mark
		want string
	}{
		{"fresh", mark.Mark{Journal: -1}, "k20;0;0;"},
		{"plain", mark.Mark{Low: 100, Journal: 36, Limit: 136, Tried: 110}, "k211;10;a;"},
		{
			"spans",
			mark.Mark{Low: 3, Journal: 0, Limit: 9, Tried: 9, Done: []mark.Span{{Start: 4, End: 6}, {Start: 7, End: 8}}},
			"k21;6;6;1,2;1,1;",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.mark.Encode()
			if got != tt.want {
				t.Errorf("Encode() = %q, want %q", got, tt.want)
			}
			back, err := mark.Parse(tt.mark.Low, got)
			if err != nil {
				t.Fatalf("Parse(%d, %q) = %v", tt.mark.Low, got, err)
			}
			if diff := cmp.Diff(tt.mark, back, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Parse(Encode()) mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseForeign(t *testing.T) {
	t.Parallel()
	m, err := mark.Parse(7, "")
	if err != nil || m.Low != 7 || m.Limit != mark.Unlimited || m.Tried != mark.Unlimited || m.Journal != -1 {
		t.Errorf("Parse(7, \"\") = %+v, %v, want a plain watermark", m, err)
	}
	for _, bad := range []string{
		"x", "k1", "k11;", "k2;0;0;", "k3", "k21;1;", "k21;1;2;", "k21;1;-1;", "k21;1;1;1;", "k11;1", "k11;1;0,1;", "k11;1;1,0;", "k11;1;-1,1;", "k11;1;1,1", "k11;1;1;1;",
		"k11;1;zzzzzzzzzzzzzzzzzzzzz,1;", "k11;1;" + strings.Repeat("1,1;", 1200),
	} {
		if _, err := mark.Parse(0, bad); !errors.Is(err, mark.ErrMetadata) {
			t.Errorf("Parse(0, %.20q) = %v, want %v", bad, err, mark.ErrMetadata)
		}
	}
	if _, err := mark.Parse(-1, "k10;0;"); err == nil {
		t.Error("Parse(-1) = nil, want an error")
	}
	want := mark.Mark{Low: 3, Journal: 0, Limit: 9, Tried: 9, Done: []mark.Span{{Start: 4, End: 6}}}
	if got, err := mark.Parse(3, "k11;6;1,2;"); err != nil || !cmp.Equal(got, want) {
		t.Errorf("Parse of the former version = %+v, %v, want %+v", got, err, want)
	}
}

func TestEncodeDropsHighestSpans(t *testing.T) {
	t.Parallel()
	m := mark.Mark{Low: 0, Limit: 1 << 40}
	for i := range int64(5000) {
		m.Done = append(m.Done, mark.Span{Start: 10*i + 5, End: 10*i + 6})
	}
	text := m.Encode()
	if len(text) > mark.MaxBytes {
		t.Fatalf("Encode() has %d bytes, want at most %d", len(text), mark.MaxBytes)
	}
	back, err := mark.Parse(0, text)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(back.Done); n < 900 || !cmp.Equal(back.Done, m.Done[:n]) {
		t.Errorf("Parse(Encode()) kept %d spans, want the lowest ones that fit", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(int64(0), "")
	f.Add(int64(3), "k11;6;1,2;1,1;")
	f.Add(int64(3), "k21;6;2;1,2;1,1;")
	f.Add(int64(1<<61), "k1zz;zz;1,2;9zz,1;")
	f.Fuzz(func(t *testing.T, offset int64, text string) {
		m, err := mark.Parse(offset, text)
		if err != nil || text == "" {
			return
		}
		at := m.Low
		for _, s := range m.Done {
			if s.Start <= at || s.End <= s.Start {
				t.Fatalf("Parse(%d, %q) gives span %+v after %d", offset, text, s, at)
			}
			at = s.End
		}
		back, err := mark.Parse(m.Low, m.Encode())
		if err != nil || !cmp.Equal(back, m, cmpopts.EquateEmpty()) {
			t.Fatalf("Parse(Encode(%+v)) = %+v, %v", m, back, err)
		}
	})
}

// FuzzTracker lets bytes choose what happens, beside a model that is a plain
// map, and follows the marks through owners that die at any point.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 5, 0, 1, 9, 4, 0, 0, 1, 2})
	f.Add([]byte{0, 0, 6, 0, 0, 1, 3, 3, 4, 0, 1, 1, 2, 5})
	f.Fuzz(exercise)
}

func TestTrackerProperties(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 600)
		for i := range script {
			script[i] = byte(rnd.UintN(256))
		}
		exercise(t, script)
	}
}

// world is a log, its journal, and the truth about both.
type world struct {
	t         *testing.T
	exists    []bool
	done      map[int64]bool  // completed, by whichever owner
	journal   int64           // end of the journal
	firstNote map[int64]int64 // record -> lowest journal offset that tells of it
	handed    map[int64]bool  // ever handed out by anyone
	tried     map[int64]bool  // ever tried by anyone
	committed mark.Mark       // what the next owner finds
	sure      map[int64]bool  // done at the time of that commit
	tr        *mark.Tracker   // the owner now
	out       map[int64]bool  // outstanding at this owner
	spoilt    bool            // an owner died, and what it reserved is in doubt
	mine      map[int64]bool  // tried by this owner
	read      int64           // next offset its reader delivers
}

func exercise(t *testing.T, script []byte) {
	t.Helper()
	w := &world{
		t: t, done: map[int64]bool{}, firstNote: map[int64]int64{}, handed: map[int64]bool{}, tried: map[int64]bool{}, sure: map[int64]bool{},
		committed: mark.Mark{Journal: 0},
	}
	for i := range 200 {
		w.exists = append(w.exists, i%17 != 11) // some offsets are no records
	}
	w.takeOver()
	for i, b := range script {
		arg := int64(0)
		if i+1 < len(script) {
			arg = int64(script[i+1])
		}
		switch b % 8 {
		case 0, 1, 2:
			w.take()
		case 3:
			w.complete(arg)
		case 4:
			w.try(arg)
		case 5:
			w.note(arg)
		case 6:
			w.commit()
		case 7:
			switch arg % 5 {
			case 0:
				w.spoilt = true
				w.takeOver()
			case 1:
				w.abandon(arg)
			case 2:
				w.leave()
			}
		}
		w.check()
	}
}

func (w *world) takeOver() {
	m, err := mark.Parse(w.committed.Low, w.committed.Encode())
	if err != nil {
		w.t.Fatal(err)
	}
	for o := range w.handed {
		// Whatever the journal tells of a record that is not known to be done
		// must be at or above the position read back.
		if n, ok := w.firstNote[o]; ok && !w.sure[o] && n < m.Journal {
			w.t.Fatalf("record %d has a note at %d, the journal is read from %d", o, n, m.Journal)
		}
		if o >= m.Limit {
			w.t.Fatalf("record %d was handed out beyond the limit %d", o, m.Limit)
		}
	}
	for o := range w.tried {
		if o >= m.Tried && !w.done[o] {
			w.t.Fatalf("record %d was tried and is not done, but is above %d", o, m.Tried)
		}
	}
	w.spoilt = w.spoilt && m.Tried > m.Low
	w.tr, w.out, w.read = mark.NewTracker(m, w.journal), map[int64]bool{}, m.Low
	w.mine = map[int64]bool{}
}

// leave is a last commit, and the next owner; nobody is in doubt for nothing.
func (w *world) leave() {
	m := w.tr.Last(3, 0)
	w.stand(m)
	doubtful := false
	for o := range w.tried {
		doubtful = doubtful || !w.sure[o]
	}
	if !doubtful && !w.spoilt && m.Tried > m.Low {
		w.t.Fatalf("nothing is in doubt, and the last commit is %+v", m)
	}
	w.takeOver()
}

func (w *world) try(arg int64) {
	o, ok := w.pick(arg)
	if !ok {
		return
	}
	if !w.tr.Try(o) {
		w.commit()
		if !w.tr.Try(o) {
			w.t.Fatalf("Try(%d) = false after a commit", o)
		}
	}
	w.tried[o], w.mine[o] = true, true
}

func (w *world) take() {
	for w.read < int64(len(w.exists)) && !w.exists[w.read] {
		w.read++
	}
	if w.read >= int64(len(w.exists)) {
		return
	}
	v, _ := w.tr.Take(w.read)
	switch v {
	case mark.Wait:
		w.commit()
		return
	case mark.Hand:
		if w.sure[w.read] {
			w.t.Fatalf("record %d is done and committed, and was handed out again", w.read)
		}
		w.out[w.read], w.handed[w.read] = true, true
		if w.tried[w.read] && !w.mine[w.read] && !w.tr.Again(w.read) {
			w.t.Fatalf("record %d was tried by an owner before, and Again() = false", w.read)
		}
	case mark.Skip:
		if !w.done[w.read] && !w.out[w.read] {
			w.t.Fatalf("record %d was skipped and is neither done nor handed out", w.read)
		}
	}
	w.read++
}

func (w *world) pick(arg int64) (int64, bool) {
	for o := range int64(len(w.exists)) {
		if at := (o + arg) % int64(len(w.exists)); w.out[at] {
			return at, true
		}
	}
	return 0, false
}

func (w *world) note(arg int64) int64 {
	o, ok := w.pick(arg)
	if !ok {
		return -1
	}
	if _, ok := w.firstNote[o]; !ok {
		w.firstNote[o] = w.journal
	}
	w.journal++
	return w.journal - 1
}

func (w *world) complete(arg int64) {
	o, ok := w.pick(arg)
	if !ok {
		return
	}
	j := int64(-1)
	if arg%3 > 0 {
		j = w.note(arg)
	}
	if !w.tr.Complete(o, j) {
		w.t.Fatalf("Complete(%d) = false, want true", o)
	}
	if w.tr.Complete(o, j) {
		w.t.Fatalf("second Complete(%d) = true, want false", o)
	}
	delete(w.out, o)
	w.done[o] = true
}

func (w *world) abandon(arg int64) {
	o, ok := w.pick(arg)
	if !ok {
		return
	}
	if !w.tr.Abandon(o) || w.tr.Complete(o, -1) {
		w.t.Fatalf("record %d was abandoned and could be completed", o)
	}
	delete(w.out, o)
	w.read = w.tr.Low() // the reader is opened anew
}

func (w *world) commit() {
	w.stand(w.tr.Mark(3, 0))
}

// stand is a commit that the group takes.
func (w *world) stand(m mark.Mark) {
	w.committed = m
	w.tr.Committed(m)
	w.sure = map[int64]bool{}
	for o := range m.Low {
		w.sure[o] = true
	}
	for _, s := range m.Done {
		for o := s.Start; o < s.End; o++ {
			w.sure[o] = true
		}
	}
	for o := range w.sure {
		if w.exists[o] && !w.done[o] {
			w.t.Fatalf("mark %+v covers record %d, which is not done", m, o)
		}
	}
}

func (w *world) check() {
	if got, want := w.tr.Outstanding(), len(w.out); got != want {
		w.t.Fatalf("Outstanding() = %d, want %d", got, want)
	}
	for o := range w.out {
		if o < w.tr.Low() {
			w.t.Fatalf("Low() = %d passed record %d, which is outstanding", w.tr.Low(), o)
		}
	}
}

// However completions scatter, a consumer that heeds Full never cuts metadata.
func TestTrackerNeverOutgrowsItsMetadata(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		low := int64(1) << (3 * seed)
		tr := mark.NewTracker(mark.Mark{Low: low, Journal: 1 << 50, Limit: low}, 1<<50)
		window := 1 + rnd.IntN(8000)
		pace := 1 + rnd.IntN(64)
		out := map[int64]bool{}
		next := low
		for range 8_000 {
			if len(out) < window && !tr.Full(next) {
				tr.Committed(mark.Mark{Limit: next + 1})
				if v, _ := tr.Take(next); v != mark.Hand {
					t.Fatalf("Take(%d) = %v, want %v", next, v, mark.Hand)
				}
				out[next] = true
				next++
				if rnd.IntN(pace) > 0 {
					continue
				}
			}
			n := 0
			for o := range out { // any; but every second, and later the rest, in one kind of run
				if seed%3 == 0 && o%2 == 0 && len(out) > window/2 {
					if n++; n < 50 {
						continue
					}
				}
				tr.Complete(o, -1)
				delete(out, o)
				break
			}
			if rnd.IntN(32) > 0 {
				continue
			}
			if m := tr.Mark(8192, 0); len(m.Encode()) > mark.MaxBytes-8 {
				back, err := mark.Parse(m.Low, m.Encode())
				if err != nil || len(back.Done) < len(m.Done) {
					t.Fatalf("seed %d: metadata of %d spans with %d outstanding is cut to %d, %v", seed, len(m.Done), len(out), len(back.Done), err)
				}
			}
		}
	}
}

func TestTrackerFull(t *testing.T) {
	t.Parallel()
	tr := mark.NewTracker(mark.Mark{Journal: -1}, -1)
	tr.Committed(tr.Mark(1<<20, 0))
	n := int64(0)
	for ; !tr.Full(n); n++ {
		if v, _ := tr.Take(n); v != mark.Hand {
			t.Fatalf("Take(%d) = %v, want %v", n, v, mark.Hand)
		}
		if n%2 == 1 {
			tr.Complete(n, -1)
		}
	}
	before := tr.Mark(1<<20, 0)
	if size := len(before.Encode()); size > mark.MaxBytes || size < mark.MaxBytes/2 {
		t.Errorf("metadata has %d bytes when full, want nearly %d", size, mark.MaxBytes)
	}
	for o := int64(0); o < n; o += 2 {
		tr.Complete(o, -1)
	}
	if tr.Full(n) || tr.Low() != n {
		t.Errorf("Full() = %v, Low() = %d after all is done, want false, %d", tr.Full(n), tr.Low(), n)
	}

	// A successor begins with the metadata full: it may close the gaps.
	tr = mark.NewTracker(before, -1)
	tr.Committed(tr.Mark(1<<20, 0))
	for o := range n {
		if v, _ := tr.Take(o); v == mark.Hand {
			if tr.Full(o) {
				t.Fatalf("Full(%d) = true in a gap", o)
			}
			tr.Complete(o, -1)
		}
	}
	if tr.Low() != n {
		t.Errorf("Low() = %d after a successor closed the gaps, want %d", tr.Low(), n)
	}
}

func TestInFlight(t *testing.T) {
	t.Parallel()
	done := []mark.Span{{Start: 12, End: 15}}
	for name, c := range map[string]struct {
		mark mark.Mark
		end  int64
		want int64
	}{
		"nothing handed out": {mark.Mark{Low: 10, Limit: 10 + mark.Ahead}, 50, 0},
		"some, some done":    {mark.Mark{Low: 10, Done: done, Limit: 20 + mark.Ahead}, 50, 7},
		"all there is":       {mark.Mark{Low: 10, Limit: 50 + mark.Ahead}, 40, 30},
		"never committed":    {mark.Mark{}, 50, 0},
		"another's commit":   {mark.Mark{Low: 10, Limit: mark.Unlimited}, 50, 0},
	} {
		if got := c.mark.InFlight(c.end); got != c.want {
			t.Errorf("%s: InFlight(%d) = %d, want %d", name, c.end, got, c.want)
		}
	}
}

func TestHas(t *testing.T) {
	t.Parallel()
	m := mark.Mark{Low: 3, Done: []mark.Span{{Start: 4, End: 6}, {Start: 7, End: 8}}}
	for offset, want := range []bool{true, true, true, false, true, true, false, true, false, false} {
		if got := m.Has(int64(offset)); got != want {
			t.Errorf("Has(%d) = %v, want %v", offset, got, want)
		}
	}
}
