package demo

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// arrivals is what the receiving server took, by recipient. Each mail of the
// demonstration has a recipient of its own, so a second arrival is a
// duplicate. It is safe for concurrent use.
type arrivals struct {
	mu    sync.Mutex
	seen  map[string]int
	first map[string]chan time.Time // closed over by whoever waits for a recipient
	kept  map[string][]byte         // messages asked for by keep
	bulk  int
	marks []mark // in rising order
	last  time.Time
}

// mark is closed once so many bulk mails arrived.
type mark struct {
	at   int
	done chan struct{}
}

const bulkPrefix = "bulk-"

func newArrivals() *arrivals {
	return &arrivals{seen: map[string]int{}, first: map[string]chan time.Time{}, kept: map[string][]byte{}}
}

// expect returns where the time of the recipient's first arrival comes. It
// must be called before the mail is sent.
func (a *arrivals) expect(recipient string) <-chan time.Time {
	ch := make(chan time.Time, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.first[recipient] = ch
	return ch
}

// keep has the recipient's message kept for message. It must be called before
// the mail is sent.
func (a *arrivals) keep(recipient string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept[recipient] = nil
}

func (a *arrivals) message(recipient string) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.kept[recipient]
}

// after returns a channel that is closed once n bulk mails arrived.
func (a *arrivals) after(n int) <-chan struct{} {
	done := make(chan struct{})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bulk >= n {
		close(done)
		return done
	}
	at, _ := slices.BinarySearchFunc(a.marks, n, func(m mark, n int) int { return m.at - n })
	a.marks = slices.Insert(a.marks, at, mark{at: n, done: done})
	return done
}

// took is called by the receiving server for each mail it answers with 250.
func (a *arrivals) took(recipient string, data []byte, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[recipient]++
	if a.seen[recipient] > 1 {
		return
	}
	a.last = at
	if ch, ok := a.first[recipient]; ok {
		ch <- at
		delete(a.first, recipient)
	}
	if _, ok := a.kept[recipient]; ok {
		a.kept[recipient] = data
	}
	if strings.HasPrefix(recipient, bulkPrefix) {
		a.bulk++
		for len(a.marks) > 0 && a.marks[0].at <= a.bulk {
			close(a.marks[0].done)
			a.marks = a.marks[1:]
		}
	}
}

// counts returns how many bulk mails arrived, how many mails arrived again,
// and when the newest came.
func (a *arrivals) counts() (bulk, again int, last time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.seen {
		again += n - 1
	}
	return a.bulk, again, a.last
}

func (a *arrivals) arrived(recipient string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[recipient] > 0
}
