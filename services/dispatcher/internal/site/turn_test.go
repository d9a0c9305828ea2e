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

// TestBacklogOfASlowSite simulates a lane of 200,000 mails for a site limited
// to fifty a second, 1,000 for others behind them, a window of 4,000, and the
// waiting room: the fast ones are out in seconds, the slow ones take what the
// limit makes them take and wait there at most twice.
func TestBacklogOfASlowSite(t *testing.T) {
	t.Parallel()
	const slow, fast, window, rate = 200_000, 1_000, 4_000, 50
	synctest.Test(t, func(t *testing.T) {
		cfg := site.Default()
		cfg.Rules = []site.Rule{{Site: "slow", Rate: rate}}
		var mu sync.Mutex
		sent, outstanding, slowAtFast := map[string]int{}, 0, 0
		most := 0
		s := site.New(cfg, []queue.Lane{{Name: "bulk"}}, map[string]int{"bulk": 200}, func(w *site.Worker[*mail]) {
			m, ok := w.First()
			for ok {
				mu.Lock()
				outstanding--
				most = max(most, m.parked)
				if sent[m.site]++; m.site == "fast" {
					slowAtFast = sent["slow"]
				}
				mu.Unlock()
				m, ok = w.Next(site.Verdict{Delivered: true}, time.Second)
			}
		}, time.Now)
		var lane []*mail
		for range slow {
			lane = append(lane, &mail{site: "slow"})
		}
		for range fast {
			lane = append(lane, &mail{site: "fast"})
		}
		waiting := &room{}
		begin := time.Now()
		done := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return sent["slow"]+sent["fast"] == slow+fast
		}
		for !done() && time.Since(begin) < 2*time.Hour {
			for waiting.Len() > 0 && !(*waiting)[0].turn.After(time.Now()) {
				m, _ := heap.Pop(waiting).(*mail)
				lane = append(lane, m)
			}
			mu.Lock()
			n := min(window-outstanding, len(lane))
			outstanding += n
			mu.Unlock()
			for _, m := range lane[:n] {
				s.Push(site.Job[*mail]{Site: m.site, Lane: "bulk", Tenant: "t", Bytes: 1, Value: m})
			}
			lane = lane[n:]
			synctest.Wait()
			mu.Lock()
			full := outstanding >= window*3/4
			mu.Unlock()
			if full {
				for _, r := range s.Relieve("bulk", func(m *mail) int { return m.parked }) {
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
		took := time.Since(begin)
		if sent["slow"] != slow || sent["fast"] != fast {
			t.Fatalf("sent %v in %s, want all", sent, took)
		}
		if slowAtFast > 10*rate {
			t.Errorf("%d slow mails were sent before the last fast one, want ten seconds' worth at most, %d", slowAtFast, 10*rate)
		}
		if most > 2 {
			t.Errorf("a mail was parked %d times, want twice at most", most)
		}
		if ideal := slow / rate * time.Second; took > ideal*11/10 {
			t.Errorf("it took %s, want about what the limit asks for, %s", took, ideal)
		}
		s.Drain()
		if err := s.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
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
		never := func(string) int { return 0 }
		first := d.Relieve("bulk", never)
		if n := len(first); n != 40 { // ten are out, 150 stay
			t.Fatalf("%d relieved, want 40", n)
		}
		if wait := time.Until(first[0].Turn).Round(time.Second); wait != 15*time.Second {
			t.Errorf("the first turn is in %s, want it behind the 150 that stay", wait)
		}
		fill()
		second := d.Relieve("bulk", never)
		if gap := second[0].Turn.Sub(first[39].Turn); len(second) != 100 || gap != 100*time.Millisecond {
			t.Errorf("%d more relieved %s behind the last, want 100 and a place behind it", len(second), gap)
		}
		d.Book("mx.example.org", time.Now().Add(time.Hour))
		fill()
		if third := d.Relieve("bulk", never); len(third) != 100 || time.Until(third[0].Turn) < time.Hour {
			t.Errorf("%v relieved, want them behind what an earlier owner sent away", len(third))
		}
	})
}
