package site_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/services/dispatcher/internal/queue"
	"kurir.dev/services/dispatcher/internal/site"
)

// yard is sites whose workers report each job and hold it until let go.
type yard struct {
	*site.Sites[string]
	mu      sync.Mutex
	running []string
	letGo   map[string]chan site.Verdict
}

func lanes() []queue.Lane {
	return []queue.Lane{{Name: "otp", Urgent: true}, {Name: "bulk", Rank: 1, FloorPercent: 5}}
}

func open(t *testing.T, cfg site.Config, workers map[string]int) *yard {
	t.Helper()
	y := &yard{letGo: map[string]chan site.Verdict{}}
	y.Sites = site.New(cfg, lanes(), workers, func(w *site.Worker[string]) {
		job, ok := w.First()
		for ok {
			y.mu.Lock()
			y.running = append(y.running, job)
			done := make(chan site.Verdict, 1)
			y.letGo[job] = done
			y.mu.Unlock()
			job, ok = w.Next(<-done, time.Second)
		}
	}, time.Now)
	return y
}

func (y *yard) push(t *testing.T, at, lane, job string) *site.Ticket[string] {
	t.Helper()
	return y.of(t, "t", at, lane, job)
}

// of is push for a tenant.
func (y *yard) of(t *testing.T, tenant, at, lane, job string) *site.Ticket[string] {
	t.Helper()
	ticket, a := y.Push(site.Job[string]{Site: at, Lane: lane, Tenant: tenant, Bytes: 1, Value: job})
	if ticket == nil {
		t.Fatalf("Push(%s) = %+v, want queued", job, a)
	}
	return ticket
}

func (y *yard) end(job string, v site.Verdict) {
	y.mu.Lock()
	done := y.letGo[job]
	delete(y.letGo, job)
	y.running = slices.DeleteFunc(y.running, func(s string) bool { return s == job })
	y.mu.Unlock()
	done <- v
	synctest.Wait()
}

func (y *yard) now() []string {
	synctest.Wait()
	y.mu.Lock()
	defer y.mu.Unlock()
	s := slices.Clone(y.running)
	slices.Sort(s)
	return s
}

func (y *yard) close(t *testing.T) {
	t.Helper()
	y.Drain()
	for _, job := range y.now() {
		y.end(job, site.Verdict{})
	}
	if err := y.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}

func config(connections, initial, reserved int) site.Config {
	c := site.Default()
	c.Connections, c.Initial, c.Reserved = connections, initial, reserved
	return c
}

func want(t *testing.T, y *yard, jobs ...string) {
	t.Helper()
	if got := y.now(); !slices.Equal(got, jobs) {
		t.Errorf("running %v, want %v", got, jobs)
	}
}

func TestReservedConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := open(t, config(3, 3, 1), map[string]int{"otp": 10, "bulk": 10})
		defer y.close(t)
		for _, job := range []string{"b1", "b2", "b3", "b4"} {
			y.push(t, "x", "bulk", job)
		}
		want(t, y, "b1", "b2")
		y.push(t, "x", "otp", "o1")
		want(t, y, "b1", "b2", "o1")
		y.push(t, "x", "otp", "o2")
		y.end("b1", site.Verdict{})
		want(t, y, "b2", "o1", "o2") // the code goes first
		y.end("o1", site.Verdict{})
		want(t, y, "b2", "b3", "o2")
	})
}

func TestSpareConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := open(t, config(9, 9, 1), map[string]int{"otp": 20, "bulk": 20})
		defer y.close(t)
		for i := range 9 {
			y.of(t, "big", "x", "bulk", fmt.Sprint("b", i))
		}
		want(t, y, "b0", "b1", "b2", "b3", "b4", "b5")
		y.of(t, "big", "x", "otp", "o1") // what is reserved is not shared
		for _, job := range []string{"s1", "s2", "s3"} {
			y.of(t, "small", "x", "bulk", job)
		}
		want(t, y, "b0", "b1", "b2", "b3", "b4", "b5", "o1", "s1", "s2")
		y.end("b0", site.Verdict{})
		want(t, y, "b1", "b2", "b3", "b4", "b5", "o1", "s1", "s2") // who has two is not spared more
		y.of(t, "other", "x", "bulk", "t1")
		want(t, y, "b1", "b2", "b3", "b4", "b5", "o1", "s1", "s2", "t1")
		y.end("s1", site.Verdict{})
		want(t, y, "b1", "b2", "b3", "b4", "b5", "o1", "s2", "s3", "t1")
		y.end("t1", site.Verdict{})
		y.end("s2", site.Verdict{})
		want(t, y, "b1", "b2", "b3", "b4", "b5", "o1", "s3") // two are free for others again
		y.end("s3", site.Verdict{})
		want(t, y, "b1", "b2", "b3", "b4", "b5", "b6", "o1")
	})
}

func TestFewConnectionsAreNotSpared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := open(t, config(4, 4, 1), map[string]int{"otp": 10, "bulk": 10})
		defer y.close(t)
		for _, job := range []string{"b1", "b2", "b3", "b4"} {
			y.push(t, "x", "bulk", job)
		}
		want(t, y, "b1", "b2", "b3")
	})
}

func TestConnectionsGrowAndShrink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := open(t, config(4, 1, 0), map[string]int{"otp": 10, "bulk": 10})
		defer y.close(t)
		for _, job := range []string{"b1", "b2", "b3", "b4", "b5", "b6"} {
			y.push(t, "x", "bulk", job)
		}
		want(t, y, "b1")
		y.end("b1", site.Verdict{Delivered: true})
		want(t, y, "b2", "b3")
		y.end("b2", site.Verdict{Delivered: true})
		want(t, y, "b3", "b4", "b5")
		y.end("b3", site.Verdict{Unreachable: true})
		want(t, y, "b4", "b5")
		y.end("b4", site.Verdict{Unreachable: true})
		want(t, y, "b5")
	})
}

func TestBudgetsAreSeparateAndShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := open(t, config(5, 5, 0), map[string]int{"otp": 2, "bulk": 2})
		defer y.close(t)
		for _, job := range []string{"a1", "a2", "a3", "a4"} {
			y.push(t, "a", "bulk", job)
		}
		y.push(t, "b", "bulk", "b1")
		want(t, y, "a1", "a2")
		y.push(t, "a", "otp", "o1")
		want(t, y, "a1", "a2", "o1") // the flood of bulk leaves the codes' budget alone
		y.end("a1", site.Verdict{})
		y.end("a2", site.Verdict{})
		want(t, y, "a3", "b1", "o1") // sites take turns for the budget
	})
}

func TestIdleWorkersLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := open(t, config(5, 5, 0), map[string]int{"otp": 2, "bulk": 2})
		y.push(t, "a", "otp", "o1")
		want(t, y, "o1")
		y.end("o1", site.Verdict{Delivered: true})
		if idle := y.Idle(); idle != 1 {
			t.Errorf("%d idle workers, want 1", idle)
		}
		y.push(t, "a", "otp", "o2")
		want(t, y, "o2")
		y.end("o2", site.Verdict{Delivered: true})
		<-time.After(2 * time.Second)
		if idle := y.Idle(); idle != 0 {
			t.Errorf("%d idle workers, want none after their time", idle)
		}
		info, ok := y.Get("a")
		if !ok || info.Tally.Delivered != 2 {
			t.Errorf("Get = %+v, %v, want 2 delivered", info, ok)
		}
		y.close(t)
	})
}

func TestSlowSitesAreRelieved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config(1, 1, 0)
		cfg.Queue = 2
		y := open(t, cfg, map[string]int{"otp": 1, "bulk": 1})
		defer y.close(t)
		for _, job := range []string{"b1", "b2", "b3", "b4", "b5"} {
			y.push(t, "x", "bulk", job)
		}
		if r := y.Relieve("bulk", never()); len(r) != 0 {
			t.Errorf("Relieve at once = %v, want none: nobody knows its speed", r)
		}
		<-time.After(3 * time.Second)
		r := y.Relieve("bulk", never())
		if len(r) != 2 || r[0].Job != "b2" || r[1].Job != "b3" || time.Until(r[0].Turn) < cfg.Patience || !r[1].Turn.After(r[0].Turn) {
			t.Errorf("Relieve = %+v, want the two that waited longest, one after the other behind those that stay", r)
		}
		if r := y.Relieve("bulk", never()); len(r) != 0 {
			t.Errorf("Relieve again = %v, want none", r)
		}
	})
}

// never says that no job was sent away before.
func never() site.Past[string] { return site.Past[string]{Parked: func(string) int { return 0 }} }

func TestFastSitesAreLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config(1, 1, 0)
		cfg.Queue = 2
		y := open(t, cfg, map[string]int{"otp": 1, "bulk": 1})
		defer y.close(t)
		y.push(t, "x", "bulk", "b0")
		for i := range 30 {
			y.push(t, "x", "bulk", "b"+strconv.Itoa(i+1))
			y.now()
			y.end("b"+strconv.Itoa(i), site.Verdict{Delivered: true})
			<-time.After(100 * time.Millisecond)
		}
		for i := range 5 {
			y.push(t, "x", "bulk", "c"+strconv.Itoa(i))
		}
		if r := y.Relieve("bulk", never()); len(r) != 0 {
			t.Errorf("Relieve = %v of a site that sends ten a second", r)
		}
	})
}

func TestSuspension(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := open(t, config(1, 1, 0), map[string]int{"otp": 1, "bulk": 1})
		defer y.close(t)
		y.push(t, "x", "bulk", "b1")
		y.push(t, "x", "bulk", "b2")
		ticket := y.push(t, "x", "bulk", "b3")
		if !ticket.Withdraw() || ticket.Withdraw() {
			t.Error("a waiting job can be withdrawn once")
		}
		jobs, ok := y.Suspend("x", time.Now().Add(time.Minute))
		if !ok || !slices.Equal(jobs, []string{"b2"}) {
			t.Errorf("Suspend = %v, %v, want b2 back", jobs, ok)
		}
		job := site.Job[string]{Site: "x", Lane: "bulk", Tenant: "t", Value: "b4"}
		if _, a := y.Push(job); !a.Suspended || a.Wait != time.Minute {
			t.Errorf("Push to a suspended site = %+v", a)
		}
		if _, ok := y.Suspend("x", time.Time{}); !ok {
			t.Error("a site can be resumed")
		}
		y.push(t, "x", "bulk", "b5")
	})
}

func TestDrainGivesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := open(t, config(1, 1, 0), map[string]int{"otp": 1, "bulk": 1})
		y.push(t, "x", "bulk", "b1")
		y.push(t, "x", "bulk", "b2")
		want(t, y, "b1")
		if jobs := y.Drain(); !slices.Equal(jobs, []string{"b2"}) {
			t.Errorf("Drain = %v, want b2", jobs)
		}
		if _, a := y.Push(site.Job[string]{Site: "x", Lane: "otp"}); a != (site.Refusal{}) {
			t.Errorf("Push after Drain = %+v, want closed", a)
		}
		y.end("b1", site.Verdict{})
		if err := y.Wait(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
