package site_test

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/services/dispatcher/internal/site"
)

// drain runs sites whose every job takes no time, and counts them by lane.
type drain struct {
	*site.Sites[string]
	mu   sync.Mutex
	sent map[string]int
}

func draining(cfg site.Config) *drain {
	d := &drain{sent: map[string]int{}}
	d.Sites = site.New(cfg, lanes(), map[string]int{"otp": 50, "bulk": 50}, func(w *site.Worker[string]) {
		job, ok := w.First()
		for ok {
			d.mu.Lock()
			d.sent[job]++
			d.mu.Unlock()
			job, ok = w.Next(site.Verdict{Delivered: true}, time.Minute)
		}
	}, time.Now)
	return d
}

func (d *drain) add(at, lane string, n int) {
	for range n {
		d.Push(site.Job[string]{Site: at, Lane: lane, Tenant: "t", Bytes: 1, Value: lane})
	}
}

func (d *drain) count(lane string) int {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sent[lane]
}

func (d *drain) close(t *testing.T) {
	t.Helper()
	d.Drain()
	if err := d.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func limited(rate float64) site.Config {
	c := site.Default()
	c.Rules = []site.Rule{{Site: "other"}, {Site: "*.example.org", Rate: rate, Connections: 8}}
	return c
}

func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := draining(limited(50))
		defer d.close(t)
		d.add("free", "bulk", 1000)
		if got := d.count("bulk"); got != 1000 {
			t.Errorf("%d sent to a site without a rate, want all", got)
		}
		d.add("mx.example.org", "bulk", 1000)
		// A second's worth at once, but for the reserve of a fifth.
		if got := d.count("bulk") - 1000; got != 40 {
			t.Errorf("%d sent at once, want 40 of 50", got)
		}
		<-time.After(10 * time.Second)
		if got := d.count("bulk") - 1000; got < 539 || got > 541 {
			t.Errorf("%d sent in ten seconds, want 540: the whole rate", got)
		}
		d.add("mx.example.org", "otp", 8)
		if got := d.count("otp"); got != 8 {
			t.Errorf("%d of 8 codes sent at once, want them to find tokens in a flood", got)
		}
	})
}

func TestRateKeepsFloors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := draining(limited(100))
		defer d.close(t)
		d.add("mx.example.org", "otp", 3000)
		d.add("mx.example.org", "bulk", 3000)
		<-time.After(20 * time.Second)
		otp, bulk := d.count("otp"), d.count("bulk")
		if bulk < 90 || bulk > 120 || otp+bulk < 2090 {
			t.Errorf("%d codes and %d bulk mails sent, want a floor of 5 %% and the whole rate", otp, bulk)
		}
	})
}

func TestMembersShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := limited(60)
		cfg.ReservedRate = 0
		d := draining(cfg)
		defer d.close(t)
		limit := func() int {
			info, _ := d.Get("mx.example.org")
			return info.Limit
		}
		d.add("mx.example.org", "bulk", 10000)
		seen := d.count("bulk")
		for _, step := range []struct{ members, limit, rate int }{{1, 8, 60}, {2, 4, 30}, {20, 1, 3}, {0, 8, 60}, {1, 8, 60}} {
			d.Share(step.members)
			<-time.After(10 * time.Second)
			now := d.count("bulk")
			if got := limit(); got != step.limit {
				t.Errorf("%d members: limit %d, want %d", step.members, got, step.limit)
			}
			if got := now - seen; step.members != 1 && (got < step.rate*10-61 || got > step.rate*10+61) {
				t.Errorf("%d members: %d sent in ten seconds, want about %d", step.members, got, step.rate*10)
			}
			seen = now
		}
	})
}

func TestMembersShareConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := open(t, config(4, 4, 2), map[string]int{"otp": 10, "bulk": 10})
		defer y.close(t)
		for i := range 8 {
			y.push(t, "x", "bulk", "b"+strconv.Itoa(i))
		}
		want(t, y, "b0", "b1")
		y.Share(2) // two connections of ours, one of them reserved
		y.end("b0", site.Verdict{Delivered: true})
		want(t, y, "b1")
		y.end("b1", site.Verdict{Delivered: true})
		want(t, y, "b2")
		y.push(t, "x", "otp", "o1")
		want(t, y, "b2", "o1")
		y.Share(1)
		want(t, y, "b2", "b3", "o1")
	})
}

func TestWarmConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config(5, 5, 1)
		cfg.Warm = site.Warm{Sites: 1, Connections: 1, Every: 20 * time.Second, Quiet: 5 * time.Minute}
		var mu sync.Mutex
		refreshed, by := 0, map[string]string{}
		s := site.New(cfg, lanes(), map[string]int{"otp": 5, "bulk": 5}, func(w *site.Worker[string]) {
			job, ok := w.First()
			for ok {
				mu.Lock()
				by[job] = w.ID()
				mu.Unlock()
				job, ok = w.Keep(site.Verdict{Delivered: true}, time.Second, func() bool {
					mu.Lock()
					defer mu.Unlock()
					refreshed++
					return true
				})
			}
		}, time.Now)
		send := func(at, lane, job string) string {
			s.Push(site.Job[string]{Site: at, Lane: lane, Tenant: "t", Bytes: 1, Value: job})
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return by[job]
		}
		first := send("x", "otp", "o1")
		send("y", "otp", "o2")
		<-time.After(70 * time.Second)
		mu.Lock()
		if refreshed != 3 {
			t.Errorf("refreshed %d times in 70 s, want every 20 s, of one site", refreshed)
		}
		mu.Unlock()
		if s.Idle() != 1 {
			t.Errorf("%d idle, want the one that is kept", s.Idle())
		}
		if bulk := send("x", "bulk", "b1"); bulk == first {
			t.Error("bulk mail took the connection kept for codes")
		}
		<-time.After(2 * time.Second) // the bulk mail's connection is idle no more
		if code := send("x", "otp", "o3"); code != first {
			t.Errorf("the next code went by worker %s, want the warm one, %s", code, first)
		}
		<-time.After(6 * time.Minute)
		if s.Idle() != 0 {
			t.Errorf("%d idle long after the last code, want none", s.Idle())
		}
		s.Drain()
		if err := s.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestColdConnectionsAreGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := site.New(site.Default(), lanes(), map[string]int{"otp": 5, "bulk": 5}, func(w *site.Worker[string]) {
			_, ok := w.First()
			for ok {
				_, ok = w.Keep(site.Verdict{Delivered: true}, time.Second, func() bool { return false })
			}
		}, time.Now)
		s.Push(site.Job[string]{Site: "x", Lane: "otp", Tenant: "t", Value: "o1"})
		<-time.After(time.Minute)
		if got := s.Idle(); got != 0 {
			t.Errorf("%d idle after the server hung up, want none", got)
		}
		s.Drain()
		if err := s.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
