package model

import (
	"hash/maphash"
	"slices"
	"strings"
)

// finding is an invariant that did not hold, and the shortest way there.
type finding struct {
	what  string
	trace []string
}

func (f *finding) String() string {
	return f.what + "\n    " + strings.Join(f.trace, "\n    ")
}

// tally is what an exploration has seen.
type tally struct {
	worlds, steps int
	depth         int
	sample        []string
	whole         bool // nothing was left out for depth or number
	finding       *finding
}

// come is how a world was reached.
type come struct {
	from  int32
	label string
}

// explore walks, breadth first, through every world that r allows, at most
// depth steps and most worlds far; 0 for no such bound. It stops at the first
// finding.
//
// Each world is also run to its end without further faults: every mail must
// have its final event then. That is "never lost": from everywhere a way leads
// to the end, and it needs no luck.
func explore(r *rules, depth, most int) tally {
	seeds := [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	seen := map[[2]uint64]struct{}{}
	var t tally
	var from []come
	fresh := func(w *world) bool {
		k := w.key()
		h := [2]uint64{maphash.String(seeds[0], k), maphash.String(seeds[1], k)}
		if _, known := seen[h]; known {
			return false
		}
		seen[h] = struct{}{}
		return true
	}
	trace := func(at int32, more ...string) []string {
		var all []string
		for ; at > 0; at = from[at].from {
			all = append(all, from[at].label)
		}
		slices.Reverse(all)
		return append(all, more...)
	}

	type reached struct {
		w  *world
		at int32
	}
	first := r.begin()
	fresh(first)
	from = append(from, come{})
	layer := []reached{{first, 0}}
	t.whole = true
	for len(layer) > 0 {
		if depth > 0 && t.depth == depth {
			t.whole = false
			break
		}
		var next []reached
		for _, here := range layer {
			for _, s := range here.w.steps() {
				t.steps++
				w := here.w.clone()
				if s.fault {
					w.spent++
				}
				s.do(w)
				if w.broken != "" {
					t.finding = &finding{w.broken, trace(here.at, s.label())}
					return t
				}
				if !fresh(w) {
					continue
				}
				from = append(from, come{here.at, s.label()})
				at := int32(len(from) - 1)
				if end := w.clone(); !end.finish(nil) {
					var more []string
					end = w.clone()
					end.finish(func(label string) { more = append(more, label) })
					t.finding = &finding{end.broken, trace(at, more...)}
					return t
				}
				next = append(next, reached{w, at})
			}
			if most > 0 && len(from) >= most {
				t.whole, t.worlds = false, len(from)
				t.sample = trace(int32(len(from) - 1))
				return t
			}
		}
		if len(next) > 0 {
			t.depth++
		}
		layer = next
	}
	t.worlds = len(from)
	return t
}
