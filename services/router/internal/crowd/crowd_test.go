package crowd_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/kit/custody/mark"
	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/crowd"
)

// lanes are what dispatchers have committed.
type lanes struct {
	mu    sync.Mutex
	marks map[string]map[int]mark.Mark
	asked int
	err   error
}

func (l *lanes) commits(_ context.Context, lane string) (map[int]mark.Mark, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return l.marks[lane], l.err
}

func (l *lanes) set(lane string, marks map[int]mark.Mark, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = map[string]map[int]mark.Mark{lane: marks}
	l.err = err
}

func (l *lanes) times() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// open gives a crowd that runs in the test's bubble until its end.
func open(t *testing.T, after int) (*crowd.Crowd, *lanes) {
	t.Helper()
	l := &lanes{}
	c := crowd.New(crowd.Config{After: after}, []string{"bulk", "otp"}, l.commits, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	return c, l
}

// passes lets a time pass and whoever wakes do its work.
func passes(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// fill lands n mails of a tenant from an offset on.
func fill(t *testing.T, c *crowd.Crowd, tenant string, n int, from int64) {
	t.Helper()
	for i := range n {
		s := c.Choose("bulk", tenant)
		if s.Band() != topic.Ordinary {
			t.Fatalf("mail %d of %s is in the overflow band", i, tenant)
		}
		s.Landed(0, from+int64(i))
	}
}

func bandOf(c *crowd.Crowd, tenant string) topic.Band {
	s := c.Choose("bulk", tenant)
	defer s.Leave()
	return s.Band()
}

// TestCrowdOverflows: what a tenant has beyond the number goes aside, until so
// many of it are done, in whatever order; nobody else's does.
func TestCrowdOverflows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l := open(t, 3)
		fill(t, c, "big", 3, 10)
		for who, want := range map[string]topic.Band{"big": topic.Overflow, "small": topic.Ordinary} {
			if got := bandOf(c, who); got != want {
				t.Errorf("Choose(%s) = %v, want %v", who, got, want)
			}
		}
		if s := c.Choose("otp", "big"); s.Band() != topic.Ordinary {
			t.Errorf("Choose(big) on another lane = %v, want ordinary", s.Band())
		}
		if got := c.Crowded(); got["bulk"] != 1 || got["otp"] != 0 {
			t.Errorf("Crowded() = %v, want one on bulk", got)
		}
		// The first is slow; the second is done.
		l.set("bulk", map[int]mark.Mark{0: {Low: 10, Done: []mark.Span{{Start: 11, End: 12}}}}, nil)
		passes(2 * time.Second)
		fill(t, c, "big", 1, 13)
		if got := bandOf(c, "big"); got != topic.Overflow {
			t.Errorf("Choose(big) = %v, want overflow again", got)
		}
		l.set("bulk", map[int]mark.Mark{0: {Low: 14}}, nil)
		passes(2 * time.Second)
		if got := c.Crowded(); got["bulk"] != 0 {
			t.Errorf("Crowded() = %v, want none", got)
		}
		fill(t, c, "big", 3, 14)
	})
}

// TestCrowdUnderWay: mail on its way to the broker counts, what never landed
// does not, and what landed after it was given up does.
func TestCrowdUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := open(t, 2)
		a, b := c.Choose("bulk", "big"), c.Keep("bulk", "big", topic.Ordinary)
		if got := bandOf(c, "big"); got != topic.Overflow {
			t.Errorf("Choose() with two under way = %v, want overflow", got)
		}
		a.Leave()
		a.Leave()
		if got := bandOf(c, "big"); got != topic.Ordinary {
			t.Errorf("Choose() with one under way = %v, want ordinary", got)
		}
		b.Leave()
		a.Landed(0, 1)
		b.Landed(0, 2)
		if got := bandOf(c, "big"); got != topic.Overflow {
			t.Errorf("Choose() with two that landed late = %v, want overflow", got)
		}
		if s := c.Keep("bulk", "small", topic.Overflow); s.Band() != topic.Overflow {
			t.Errorf("Keep(overflow) = %v, want overflow", s.Band())
		}
	})
}

// TestCrowdAsks: the broker is asked while something is not done and not
// otherwise, on and on when it does not answer.
func TestCrowdAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l := open(t, 2)
		passes(time.Hour)
		if n := l.times(); n != 0 {
			t.Errorf("asked %d times about nothing", n)
		}
		l.set("bulk", nil, errors.New("broker is gone"))
		fill(t, c, "big", 2, 0)
		passes(10*time.Second + 125*time.Millisecond)
		if n := l.times(); n != 40 {
			t.Errorf("asked %d times in ten seconds, want 40", n)
		}
		l.set("bulk", map[int]mark.Mark{0: {Low: 2}}, nil)
		passes(time.Hour)
		if n := l.times(); n != 41 {
			t.Errorf("asked %d times, want one more", n)
		}
		fill(t, c, "big", 2, 2)
	})
}

// TestCrowdRoom: however many tenants there are, so many records are kept and
// no more; who has some there then gets no more, who has none does.
func TestCrowdRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l := open(t, 100)
		const tenants = 1000
		for i := range tenants {
			fill(t, c, strconv.Itoa(i), 100, int64(i)*100)
		}
		fill(t, c, "another", 1, tenants*100)
		for who, want := range map[string]topic.Band{"another": topic.Overflow, "999": topic.Overflow, "new": topic.Ordinary} {
			if got := bandOf(c, who); got != want {
				t.Errorf("Choose(%s) in a full room = %v, want %v", who, got, want)
			}
		}
		if n := c.Crowded()["bulk"]; n != tenants-1 {
			t.Errorf("Crowded() = %d, want %d: the oldest record is forgotten", n, tenants-1)
		}
		s := c.Choose("bulk", "new")
		s.Landed(1, 0) // a partition with nothing to forget
		if got := bandOf(c, "new"); got != topic.Ordinary {
			t.Errorf("Choose(new) = %v, want ordinary: its record is not counted", got)
		}
		l.set("bulk", map[int]mark.Mark{0: {Low: tenants*100 + 1}}, nil)
		passes(2 * time.Second)
		fill(t, c, "999", 100, tenants*100+1)
	})
}

// TestCrowdOff: without a number, and without a crowd, all mail is ordinary and
// nothing is counted.
func TestCrowdOff(t *testing.T) {
	t.Parallel()
	off := crowd.New(crowd.Config{}, []string{"bulk"}, nil, slog.New(slog.DiscardHandler))
	for name, c := range map[string]*crowd.Crowd{"0": off, "nil": nil} {
		for i := range 1000 {
			s := c.Choose("bulk", "big")
			s.Landed(0, int64(i))
			s.Leave()
			if s.Band() != topic.Ordinary {
				t.Fatalf("%s: Choose() = %v, want ordinary", name, s.Band())
			}
		}
		if s := c.Keep("bulk", "big", topic.Overflow); s.Band() != topic.Overflow {
			t.Errorf("%s: Keep(overflow) = %v, want overflow", name, s.Band())
		}
	}
}

// TestCrowdProperty: whatever comes, lands, is given up and is done in whatever
// order, nobody has more in the ordinary band than the number allows, and when
// all is done nobody is counted.
func TestCrowdProperty(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			const after, partitions = 5, 3
			c, l := open(t, after)
			type sitter struct {
				seat *crowd.Seat
				who  string
			}
			var underWay []sitter
			undone := map[string]int{}
			var ends [partitions]int64
			owner := map[[2]int64]string{}
			settle := func() {
				marks := map[int]mark.Mark{}
				for p := range partitions {
					m := mark.Mark{}
					for at := range ends[p] {
						who, there := owner[[2]int64{int64(p), at}]
						if there && r.IntN(2) == 0 {
							continue
						}
						if there {
							delete(owner, [2]int64{int64(p), at})
							undone[who]--
						}
						if at == m.Low {
							m.Low++
						} else {
							m.Done = append(m.Done, mark.Span{Start: at, End: at + 1})
						}
					}
					marks[p] = m
				}
				l.set("bulk", marks, nil)
				passes(2 * time.Second)
			}
			for range 400 {
				who := strconv.Itoa(r.IntN(4))
				switch n := len(underWay); {
				case r.IntN(20) == 0:
					settle()
				case n > 0 && r.IntN(2) == 0:
					i := r.IntN(n)
					s := underWay[i]
					underWay = append(underWay[:i:i], underWay[i+1:]...)
					undone[s.who]--
					if r.IntN(4) > 0 {
						p := r.IntN(partitions)
						s.seat.Landed(p, ends[p])
						owner[[2]int64{int64(p), ends[p]}] = s.who
						undone[s.who]++
						ends[p]++
					}
					s.seat.Leave()
				default:
					s := c.Choose("bulk", who)
					if want := undone[who] >= after; (s.Band() == topic.Overflow) != want {
						t.Fatalf("seed %d: Choose() = %v with %d unfinished of %d", seed, s.Band(), undone[who], after)
					}
					if s.Band() == topic.Ordinary {
						undone[who]++
						underWay = append(underWay, sitter{s, who})
					}
				}
			}
			for _, s := range underWay {
				s.seat.Leave()
			}
			all := map[int]mark.Mark{}
			for p := range partitions {
				all[p] = mark.Mark{Low: ends[p]}
			}
			l.set("bulk", all, nil)
			passes(2 * time.Second)
			for who := range undone {
				fill(t, c, who, after, 1<<40) // all its places are free
			}
		})
	}
}
