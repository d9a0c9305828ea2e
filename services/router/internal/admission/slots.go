package admission

import (
	"sync"

	"kurir.dev/kit/lane"
)

// slots bounds the submissions in work, in number and in bytes. Most of the
// room is anybody's; each lane but the lowest has some beyond it of its own, so
// that a flood of the others never refuses it.
type slots struct {
	mu     sync.Mutex
	shared room
	own    map[string]*room
}

// room is a bounded room.
type room struct {
	items, mostItems int
	bytes, mostBytes int
}

func (r *room) take(bytes int) bool {
	if r == nil || r.items >= r.mostItems || r.items > 0 && r.bytes+bytes > r.mostBytes {
		return false
	}
	r.items++
	r.bytes += bytes
	return true
}

// newSlots makes room for so many submissions, of so many bytes together. The
// first lane has an eighth of both beyond that, the others a sixteenth, the
// lowest nothing.
func newSlots(lanes lane.Set, items, bytes int) *slots {
	s := &slots{shared: room{mostItems: items, mostBytes: bytes}, own: make(map[string]*room)}
	for i, l := range lanes {
		part := 16
		switch i {
		case 0:
			part = 8
		case len(lanes) - 1:
			continue
		}
		s.own[l.Name] = &room{mostItems: max(1, items/part), mostBytes: bytes / part}
	}
	return s
}

// take takes a place for a mail; leave gives it back.
func (s *slots) take(lane string, bytes int) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := &s.shared
	if !in.take(bytes) {
		if in = s.own[lane]; !in.take(bytes) {
			return nil, false
		}
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		in.items--
		in.bytes -= bytes
	}, true
}
