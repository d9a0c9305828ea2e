package queue

import "slices"

// Excess takes out what a lane holds beyond keep items, and answers it in the
// order it should come back: tenants in turn, each its first ones first.
//
// Only the tenants with most mail give any, down to one level, so that a
// tenant with ten mails keeps its place beside one with a hundred thousand.
// order says which of two items of a tenant goes first, by its sign; nil is
// the order they were pushed in. An item of which may is false stays, and those
// after it.
func (q *Queue[T]) Excess(laneName string, keep int, order func(a, b T) int, may func(T) bool) []T {
	l, ok := q.byName[laneName]
	if !ok || l.size <= keep {
		return nil
	}
	var sizes []int
	for e := l.tenants.Front(); e != nil; e = e.Next() {
		sizes = append(sizes, held[*tenant[T]](e).items.Len())
	}
	level := level(sizes, keep)
	var rows [][]*Item[T]
	for e := l.tenants.Front(); e != nil; e = e.Next() {
		who := held[*tenant[T]](e)
		if who.items.Len() <= level {
			continue
		}
		items := make([]*Item[T], 0, who.items.Len())
		for i := who.items.Front(); i != nil; i = i.Next() {
			items = append(items, held[*Item[T]](i))
		}
		if order != nil {
			slices.SortStableFunc(items, func(a, b *Item[T]) int { return order(a.Value, b.Value) })
		}
		items = items[:len(items)-level]
		if i := slices.IndexFunc(items, func(item *Item[T]) bool { return !may(item.Value) }); i >= 0 {
			items = items[:i]
		}
		rows = append(rows, items)
	}
	var taken []T
	for i := 0; len(rows) > 0; i++ {
		rows = slices.DeleteFunc(rows, func(row []*Item[T]) bool { return i >= len(row) })
		for _, row := range rows {
			taken = append(taken, row[i].Value)
			q.take(row[i])
		}
	}
	return taken
}

// level is the most items a tenant may keep so that all keep no more than keep
// together: what max-min fairness gives the largest.
func level(sizes []int, keep int) int {
	slices.Sort(sizes)
	for i, size := range sizes {
		share := keep / (len(sizes) - i)
		if size > share {
			return share
		}
		keep -= size
	}
	return keep
}
