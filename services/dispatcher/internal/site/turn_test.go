package site_test

import (
	"container/heap"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/services/dispatcher/internal/queue"
	"kurir.dev/services/dispatcher/internal/site"
)

// mail is one in a simulation; parked counts its stays in the waiting room.
type mail struct {
	site   string
	parked int
	turn   time.Time
}

// room is the mails that wait, by their turn.
type room []*mail

func (r *room) Len() int           { return len(*r) }
func (r *room) Less(i, j int) bool { return (*r)[i].turn.Before((*r)[j].turn) }
func (r *room) Swap(i, j int)      { (*r)[i], (*r)[j] = (*r)[j], (*r)[i] }

// Push is heap.Interface's.
func (r *room) Push(x any) { *r = append(*r, x.(*mail)) }

// Pop is heap.Interface's.
func (r *room) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}

// backlog is a simulated lane: slow mails for a site limited to rate, ahead of
// fast ones, a window, and the waiting room. Each of the site's deliveries
// takes what pause says.
type backlog struct {
	slow, fast, window int
	rate               float64
	pause              func(since time.Duration) time.Duration
}

// course is how it went.
type course struct {
	sent       map[string]int
	slowAtFast int // slow ones sent before the last fast one
	most       int // stays of a mail in the waiting room
	took       time.Duration
}

// run simulates until all is sent, four hours at most. To be called in a
// bubble of its own.
func (b backlog) run(t *testing.T) course {
	t.Helper()
	cfg := site.Default()
	cfg.Rules = []site.Rule{{Site: "slow", Rate: b.rate}}
	var mu sync.Mutex
	c := course{sent: map[string]int{}}
	outstanding := 0
	begin := time.Now()
	s := site.New(cfg, []queue.Lane{{Name: "bulk"}}, map[string]int{"bulk": 200}, func(w *site.Worker[*mail]) {
		m, ok := w.First()
		for ok {
			if m.site == "slow" && b.pause != nil {
				<-time.After(b.pause(time.Since(begin)))
			}
			mu.Lock()
			outstanding--
			c.most = max(c.most, m.parked)
			if c.sent[m.site]++; m.site == "fast" {
				c.slowAtFast = c.sent["slow"]
			}
			mu.Unlock()
			m, ok = w.Next(site.Verdict{Delivered: true}, time.Second)
		}
	}, time.Now)
	lane := make([]*mail, 0, b.slow+b.fast)
	for range b.slow {
		lane = append(lane, &mail{site: "slow"})
	}
	for range b.fast {
		lane = append(lane, &mail{site: "fast"})
	}
	waiting := &room{}
	done := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return c.sent["slow"]+c.sent["fast"] == b.slow+b.fast
	}
	for !done() && time.Since(begin) < 4*time.Hour {
		for waiting.Len() > 0 && !(*waiting)[0].turn.After(time.Now()) {
			m, _ := heap.Pop(waiting).(*mail)
			lane = append(lane, m)
		}
		mu.Lock()
		n := min(b.window-outstanding, len(lane))
		outstanding += n
		full := outstanding >= b.window*3/4
		mu.Unlock()
		for _, m := range lane[:n] {
			s.Push(site.Job[*mail]{Site: m.site, Lane: "bulk", Tenant: "t", Bytes: 1, Value: m})
		}
		lane = lane[n:]
		synctest.Wait()
		if full {
			for _, r := range s.Relieve("bulk", site.Past[*mail]{Parked: func(m *mail) int { return m.parked }}) {
				r.Job.parked++
				r.Job.turn = r.Turn
				heap.Push(waiting, r.Job)
				mu.Lock()
				outstanding--
				mu.Unlock()
			}
		}
		<-time.After(50 * time.Millisecond)
	}
	c.took = time.Since(begin)
	s.Drain()
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	return c
}

// TestBacklogOfASlowSite simulates a lane of 200,000 mails for a site limited
// to fifty a second, 1,000 for others behind them, a window of 4,000, and the
// waiting room: the fast ones are out in seconds, the slow ones take what the
// limit makes them take and wait there at most twice.
func TestBacklogOfASlowSite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slow, fast, rate = 200_000, 1_000, 50
		c := backlog{slow: slow, fast: fast, window: 4_000, rate: rate}.run(t)
		if c.sent["slow"] != slow || c.sent["fast"] != fast {
			t.Fatalf("sent %v in %s, want all", c.sent, c.took)
		}
		if c.slowAtFast > 10*rate {
			t.Errorf("%d slow mails were sent before the last fast one, want ten seconds' worth at most, %d", c.slowAtFast, 10*rate)
		}
		if c.most > 2 {
			t.Errorf("a mail was parked %d times, want twice at most", c.most)
		}
		if ideal := slow / rate * time.Second; c.took > ideal*11/10 {
			t.Errorf("it took %s, want about what the limit asks for, %s", c.took, ideal)
		}
	})
}

// A site that is slower than it may be, or a machine that is, does not send
// mail away more often: turns follow what is really done.
func TestSlowerThanTheLimit(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]func(time.Duration) time.Duration{
		// Twenty connections: 200, 100 and 40 a second, of 500 allowed.
		"two fifths": func(time.Duration) time.Duration { return 100 * time.Millisecond },
		"a fifth":    func(time.Duration) time.Duration { return 200 * time.Millisecond },
		"a twelfth":  func(time.Duration) time.Duration { return 500 * time.Millisecond },
		"by and by": func(since time.Duration) time.Duration {
			return 20*time.Millisecond + min(since/100, 300*time.Millisecond)
		},
		"now and then": func(since time.Duration) time.Duration {
			return 30*time.Millisecond + since.Truncate(7*time.Second)%(21*time.Second)/100
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := backlog{slow: 20_000, fast: 1_000, window: 1_900, rate: 500, pause: pause}.run(t)
				if c.sent["slow"]+c.sent["fast"] != 21_000 || c.most > 2 || c.slowAtFast > 5_000 {
					t.Errorf("sent %v in %s, %d slow ones before the last fast one, parked %d times; want all, a few thousand, and twice at most",
						c.sent, c.took, c.slowAtFast, c.most)
				}
				t.Logf("%+v", c)
			})
		})
	}
}

func TestTurnsFollowOneAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := limited(10)
		cfg.Queue, cfg.ReservedRate, cfg.Patience = 150, 0, 10*time.Second
		d := draining(cfg)
		defer d.close(t)
		fill := func() { d.add("mx.example.org", "bulk", 100); d.count("bulk") }
		fill()
		fill()

		first := d.Relieve("bulk", never())
		if n := len(first); n != 40 { // ten are out, 150 stay
			t.Fatalf("%d relieved, want 40", n)
		}
		if wait := time.Until(first[0].Turn).Round(time.Second); wait != 15*time.Second {
			t.Errorf("the first turn is in %s, want it behind the 150 that stay", wait)
		}
		fill()
		second := d.Relieve("bulk", never())
		if gap := second[0].Turn.Sub(first[39].Turn); len(second) != 100 || gap != 100*time.Millisecond {
			t.Errorf("%d more relieved %s behind the last, want 100 and a place behind it", len(second), gap)
		}
		d.Book("mx.example.org", time.Now().Add(time.Hour))
		fill()
		if third := d.Relieve("bulk", never()); len(third) != 100 || time.Until(third[0].Turn) < time.Hour {
			t.Errorf("%v relieved, want them behind what an earlier owner sent away", len(third))
		}
	})
}
