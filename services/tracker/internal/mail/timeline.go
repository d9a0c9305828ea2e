package mail

import (
	"cmp"
	"slices"
)

// Order sorts the events of one mail as they happened: by time, and where the
// times are the same by attempt, by the type's place within it, by try and at
// last as they were stored.
func Order(events []Event) {
	slices.SortStableFunc(events, func(a, b Event) int {
		return cmp.Or(
			a.At.Compare(b.At),
			cmp.Compare(a.Attempt, b.Attempt),
			cmp.Compare(a.Type.rank(), b.Type.rank()),
			cmp.Compare(a.Sequence, b.Sequence),
			cmp.Compare(a.Position, b.Position),
		)
	})
}
