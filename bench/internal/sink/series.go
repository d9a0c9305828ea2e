package sink

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Series is the arrivals of a number of mails that are counted together. Safe
// for concurrent use.
type Series struct {
	letter byte
	at     []atomic.Int64 // when each came, on the sink's clock; 0 not yet
	count  atomic.Int64   // mails that came
	again  atomic.Int64   // mails that came once more
	last   atomic.Int64   // when the newest came
	delay  atomic.Int64   // before the answer to RCPT
	mu     sync.Mutex
	slow   chan struct{} // guarded by mu; closed when the series is not slow
}

// Address is the address of the series' mail number i at domain.
func (s *Series) Address(i int, domain string) string {
	return fmt.Sprintf("%c%07d@%s", s.letter, i, domain)
}

// Len is how many mails the series may have.
func (s *Series) Len() int { return len(s.at) }

// Count is how many of its mails came, each counted once.
func (s *Series) Count() int { return int(s.count.Load()) }

// Again is how many came once more.
func (s *Series) Again() int { return int(s.again.Load()) }

// Last is when the newest came.
func (s *Series) Last() time.Duration { return time.Duration(s.last.Load()) }

// At is when mail number i came; false if it has not.
func (s *Series) At(i int) (time.Duration, bool) {
	at := s.at[i].Load()
	return time.Duration(at), at != 0
}

func (s *Series) took(i int, now time.Duration) {
	if !s.at[i].CompareAndSwap(0, int64(now)) {
		s.again.Add(1)
		return
	}
	s.last.Store(int64(now))
	s.count.Add(1)
}

// Tarpit has every recipient of the series wait for d before it is answered,
// until Loosen.
func (s *Series) Tarpit(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = make(chan struct{})
	s.delay.Store(int64(d))
}

// Loosen ends the tarpit, for those who wait in it too.
func (s *Series) Loosen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.delay.Swap(0) != 0 {
		close(s.slow)
	}
}

// linger waits as long as the tarpit says.
func (s *Series) linger(closing <-chan struct{}) error {
	d := time.Duration(s.delay.Load())
	if d == 0 {
		return nil
	}
	s.mu.Lock()
	loose := s.slow
	s.mu.Unlock()
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-loose:
	case <-closing:
	}
	return nil
}

// Wait waits until n mails of the series came. It is an error if for longer
// than patience none does.
func (s *Series) Wait(ctx context.Context, n int, patience time.Duration) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	seen, since := s.Count(), time.Now()
	for s.Count() < n {
		select {
		case now := <-tick.C:
			if c := s.Count(); c > seen {
				seen, since = c, now
			}
			if now.Sub(since) > patience {
				return fmt.Errorf("%d of %d mails arrived, and none more for %v", seen, n, patience)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
