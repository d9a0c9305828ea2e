package dispatcher_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/mxsim"
	"kurir.dev/kit/topic"
	dispatcherv1 "kurir.dev/proto/gen/kurir/dispatcher/v1"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/dispatcher"
	"kurir.dev/services/dispatcher/internal/site"
)

// room plays the router's waiting room: what is deferred goes back onto its
// lane when it is due, unless that is beyond the horizon of the test.
type room struct {
	mu     sync.Mutex
	visits map[string]int
}

func waitingRoom(y *yard, horizon time.Duration) *room {
	y.tb.Helper()
	r := &room{visits: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	reader := y.reader(y.client.Topics().Deferred(lane.Bulk))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			m, err := reader.ReadMessage(ctx)
			if err != nil {
				return
			}
			d, err := y.codec.OpenDeferral(record(m))
			if err != nil {
				y.tb.Error(err)
				return
			}
			r.mu.Lock()
			r.visits[d.GetEnvelope().GetMailId()]++
			r.mu.Unlock()
			if time.Until(d.GetDueAt().AsTime()) > horizon {
				continue
			}
			wg.Go(func() {
				select {
				case <-time.After(time.Until(d.GetDueAt().AsTime())):
				case <-ctx.Done():
					return
				}
				back, err := y.mail(d.GetEnvelope(), topic.Ordinary)
				if err == nil {
					_, err = y.producer.Produce(ctx, back)
				}
				if err != nil && ctx.Err() == nil {
					y.tb.Error(err)
				}
			})
		}
	})
	y.tb.Cleanup(func() { cancel(); wg.Wait() })
	return r
}

// most is how often one mail was there at most.
func (r *room) most() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := 0
	for _, n := range r.visits {
		most = max(most, n)
	}
	return most
}

// slowSite has slow mails for a limited site lie on the bulk lane ahead of
// fast ones, and counts.
func slowSite(y *yard, rate float64, slow, fast int) (slowSent *atomic.Int64, slowAtFast func() int64, fastOut, allOut <-chan struct{}) {
	y.tb.Helper()
	var slowMails, fastMails, atFast atomic.Int64
	fastDone, allDone := make(chan struct{}), make(chan struct{})
	left := atomic.Int64{}
	left.Store(int64(slow + fast))
	count := func() {
		if left.Add(-1) == 0 {
			close(allDone)
		}
	}
	y.host("mx.slow.example", mxsim.HostConfig{Received: func(mxsim.Received) { slowMails.Add(1); count() }})
	y.host("mx.fast.example", mxsim.HostConfig{Received: func(mxsim.Received) {
		atFast.Store(slowMails.Load())
		if fastMails.Add(1) == int64(fast) {
			close(fastDone)
		}
		count()
	}})
	y.dns.MX("slow.example", "mx.slow.example")
	y.dns.MX("fast.example", "mx.fast.example")
	y.cfg.Sites.Rules = []site.Rule{{Site: "mx.slow.example", Rate: rate}}
	for i := range slow + fast {
		to := "ana@slow.example"
		if i >= slow {
			to = "ana@fast.example"
		}
		y.enqueue(lane.Bulk, to)
	}
	y.flush()
	return &slowMails, atFast.Load, fastDone, allDone
}

// The mails of a slow site do not hide those of fast ones behind them, and
// wait for their turn in the waiting room once or twice, not again and again.
func TestSlowSiteIsParkedUntilItsTurn(t *testing.T) {
	t.Parallel()
	y := build(t)
	const slow, fast, rate = 2000, 100, 500
	_, slowAtFast, fastOut, allOut := slowSite(y, rate, slow, fast)
	y.cfg.Budgets = map[string]dispatcher.Budget{lane.Bulk: {Outstanding: 200, Bytes: 64 << 20, Workers: 50, Lookups: 200}}
	y.cfg.Sites.Queue, y.cfg.Sites.Patience = 50, 100*time.Millisecond
	room := waitingRoom(y, time.Hour)
	y.start()
	await(t, fastOut)
	if got := slowAtFast(); got > slow*3/4 {
		t.Errorf("%d of %d slow mails were sent before the last fast one, which lay behind all of them", got, slow)
	}
	await(t, allOut)
	if got := room.most(); got > 2 || got == 0 {
		t.Errorf("a mail was in the waiting room %d times, want once or twice", got)
	}
}

// BenchmarkParking is up to 200,000 mails for a site limited to fifty a second,
// ahead of 1,000 for fast ones: how many slow ones were sent, and how long it
// took, until the last fast one.
func BenchmarkParking(b *testing.B) {
	for _, slow := range []int{20_000, 200_000} {
		b.Run(fmt.Sprintf("slow=%d", slow), func(b *testing.B) {
			for b.Loop() {
				y := build(b)
				_, slowAtFast, fastOut, _ := slowSite(y, 50, slow, 1_000)
				room := waitingRoom(y, 30*time.Second)
				begin := time.Now()
				y.start()
				<-fastOut
				b.ReportMetric(time.Since(begin).Seconds(), "s/fast-out")
				b.ReportMetric(float64(slowAtFast()), "slow-sent")
				b.ReportMetric(float64(room.most()), "most-visits")
				y.stop()
			}
		})
	}
}

func await(tb testing.TB, done <-chan struct{}) {
	tb.Helper()
	select {
	case <-done:
	case <-time.After(wait):
		tb.Fatal("it does not happen")
	}
}

// All bulk connections of a site hang in DATA; a code goes out over the
// connections that are reserved for it.
func TestTarpittedBulkDoesNotHoldCodes(t *testing.T) {
	t.Parallel()
	y := setup(t)
	hanging := make(chan struct{}, 100)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: func(e mxsim.Event) mxsim.Reply {
		if e.Stage == mxsim.Data && slices.Contains(e.To, "bulk@example.org") {
			hanging <- struct{}{}
			return mxsim.Reply{Delay: time.Hour}
		}
		return mxsim.Reply{}
	}})
	y.dns.MX("example.org", "mx.example.org")
	for range 40 {
		y.send(lane.Bulk, "bulk@example.org")
	}
	for range y.cfg.Sites.Initial {
		<-hanging
	}
	next := y.outcomes(lane.OTP)
	for range 10 {
		e := y.send(lane.OTP, "otp@example.org")
		want(t, next(), e, delivered)
	}
	if got := mx.Stats().Mails; got != 10 {
		t.Errorf("%d mails taken, want the ten codes alone", got)
	}
}

// A tenant's backlog lies in the overflow band, for a site that stands still, or
// that cannot even be found. A small tenant's mails in the ordinary band go out
// beside it.
func TestOverflowHoldsUpNobody(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		stand func(y *yard) (to string)
	}{
		{"the site stands still", func(y *yard) string {
			y.dns.MX("slow.example", "mx.slow.example")
			y.host("mx.slow.example", mxsim.HostConfig{Script: func(e mxsim.Event) mxsim.Reply {
				if e.Stage == mxsim.Data {
					return mxsim.Reply{Delay: time.Hour}
				}
				return mxsim.Reply{}
			}})
			return "big@slow.example"
		}},
		{"the name servers stand still", func(y *yard) string {
			y.cfg.DNS.Timeout, y.cfg.DNS.Attempts = 100*time.Millisecond, 1_000_000
			y.dns.Hang("slow.example", true)
			return "big@slow.example"
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			y := build(t)
			y.cfg.Budgets = map[string]dispatcher.Budget{lane.Bulk: {Outstanding: 40, Bytes: 64 << 20, Workers: 40, Lookups: 10}}
			const small = 50
			mx := y.host("mx.example.org", mxsim.HostConfig{})
			y.dns.MX("example.org", "mx.example.org")
			to := tt.stand(y)
			for range 1000 {
				y.putIn(topic.Overflow, y.envelope(lane.Bulk, to))
			}
			y.flush()
			y.start()
			defer y.dns.Hang("slow.example", false)
			for i := range small {
				e := y.envelope(lane.Bulk, "ana@example.org")
				e.Tenant = "small"
				y.submit(e)
				if err := mx.Wait(t.Context(), func(s mxsim.Stats) bool { return s.Mails > i }); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A tenant's thousands lie in the overflow band, and ten mails of another in the
// ordinary one: what the window holds of either goes out by turns, and the ten
// before the half that is left to the thousands.
func TestOverflowGoesByTurns(t *testing.T) {
	t.Parallel()
	y := build(t)
	const big, small, window = 3000, 10, 100
	y.cfg.Budgets = map[string]dispatcher.Budget{lane.Bulk: {Outstanding: window, Bytes: 64 << 20, Workers: 1, Lookups: 2 * window}}
	var ahead, left atomic.Int64
	left.Store(small)
	done, open := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(open) })
	y.host("mx.example.org", mxsim.HostConfig{Received: func(r mxsim.Received) {
		<-open
		switch {
		case r.To == "small@example.org":
			if left.Add(-1) == 0 {
				close(done)
			}
		case left.Load() > 0:
			ahead.Add(1)
		}
	}})
	t.Cleanup(release)
	y.dns.MX("example.org", "mx.example.org")
	for range big {
		y.putIn(topic.Overflow, y.envelope(lane.Bulk, "big@example.org"))
	}
	for range small {
		e := y.envelope(lane.Bulk, "small@example.org")
		e.Tenant = "small"
		y.put(e)
	}
	y.flush()
	y.start()
	brokertest.Eventually(t, func() bool { // the one connection holds one more
		res, err := y.api.ListSites(t.Context(), &dispatcherv1.ListSitesRequest{})
		return err == nil && len(res.GetSites()) == 1 && res.GetSites()[0].GetQueued()[lane.Bulk] == window/2+small-1
	})
	release()
	await(t, done)
	if got := ahead.Load(); got > window/2 {
		t.Errorf("%d mails of the big tenant went out before the small one's last, want %d at most", got, window/2)
	}
	y.allSettled(lane.Bulk, big+small)
}

// A connection that carried a code is kept for the next one, and said NOOP to.
func TestWarmConnectionForCodes(t *testing.T) {
	t.Parallel()
	y := build(t)
	y.cfg.SMTP.Idle, y.cfg.Sites.Warm.Every = 10*time.Millisecond, 50*time.Millisecond
	noops := make(chan struct{}, 1000)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: func(e mxsim.Event) mxsim.Reply {
		if e.Stage == mxsim.Other {
			select {
			case noops <- struct{}{}:
			default: // enough were seen
			}
		}
		return mxsim.Reply{}
	}})
	y.dns.MX("example.org", "mx.example.org")
	y.start()
	next := y.outcomes(lane.OTP)
	e := y.send(lane.OTP, "ana@example.org")
	want(t, next(), e, delivered)
	for range 3 {
		<-noops
	}
	// A code that comes while NOOP is said does not wait for it, but for a
	// connection of its own.
	kept := false
	for range 5 {
		<-noops
		before := mx.Stats().Connections
		e = y.send(lane.OTP, "ana@example.org")
		want(t, next(), e, delivered)
		kept = kept || mx.Stats().Connections == before
	}
	if !kept {
		t.Error("each code made a connection, want the warm one used")
	}
	before := mx.Stats().Connections
	mx.Disconnect() // it is made anew, without a mail that asks for it
	// A starved machine may lose the new one, too, and make another.
	if err := mx.Wait(t.Context(), func(s mxsim.Stats) bool { return s.Connections > before && s.Open > 0 }); err != nil {
		t.Error(err)
	}
}

// A flood of deferrals in one lane leaves another alone: the codes that come
// behind it are delivered before it is over.
func TestDeferralsOfALaneLeaveOthersAlone(t *testing.T) {
	t.Parallel()
	y := build(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.To("bulk@*", mxsim.Reply{Code: 451, Text: "later"})})
	y.dns.MX("example.org", "mx.example.org")
	const flood, codes = 3000, 20
	for range flood {
		y.enqueue(lane.Bulk, "bulk@example.org")
	}
	for range codes {
		y.enqueue(lane.OTP, "otp@example.org")
	}
	y.flush()
	y.start()
	if err := mx.Wait(t.Context(), func(s mxsim.Stats) bool { return s.Mails == codes }); err != nil {
		t.Fatal(err)
	}
	if got := mx.Stats().Refused; got > flood/2 {
		t.Errorf("%d of %d bulk mails were refused before the last code was out", got, flood)
	}
}

// Dispatchers of different lanes and one of all share the work; one more and
// one less lose nothing and send nothing twice, and each takes its part of what
// a site may have.
func TestSubsetsOfLanes(t *testing.T) {
	t.Parallel()
	y := buildOf(t, 4)
	var mu sync.Mutex
	seen := map[string]int{}
	y.host("mx.example.org", mxsim.HostConfig{Received: func(r mxsim.Received) {
		id := strings.TrimSpace(string(r.Data[strings.LastIndex(string(r.Data), "id ")+3:]))
		mu.Lock()
		defer mu.Unlock()
		seen[id]++
	}})
	y.dns.MX("example.org", "mx.example.org")
	y.cfg.Sites.Connections = 12
	const each = 150
	batch := func() {
		for _, name := range []string{lane.OTP, lane.Bulk, lane.Billing} {
			for range each {
				e := y.envelope(name, "ana@example.org")
				e.Content = &eventsv1.MailEnvelope_Message{Message: fmt.Appendf(nil, "Subject: hi\r\n\r\nid %s\r\n", e.GetMailId())}
				y.put(e)
			}
		}
		y.flush()
	}
	members := func(at *replica, want int32) {
		t.Helper()
		brokertest.Eventually(t, func() bool {
			res, err := at.api.ListSites(t.Context(), &dispatcherv1.ListSitesRequest{})
			if err != nil || len(res.GetSites()) == 0 {
				return false
			}
			return res.GetSites()[0].GetConnectionLimit() == want
		})
	}
	all := y.replica()
	batch()
	members(all, 12)
	codes, bulk := y.replica(lane.OTP), y.replica(lane.Bulk, lane.Reminder)
	batch()
	members(all, 4)
	bulk.stop()
	batch()
	members(all, 6)
	codes.stop()
	batch()
	members(all, 12)
	for _, name := range []string{lane.OTP, lane.Bulk, lane.Billing} {
		y.allSettled(name, 4*each)
	}
	mu.Lock()
	defer mu.Unlock()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("mail %s was sent %d times, want once", id, n)
		}
	}
	if len(seen) != 4*3*each {
		t.Errorf("%d mails seen, want %d", len(seen), 4*3*each)
	}
}

// replica is one of several dispatchers on a yard's broker.
type replica struct {
	api  dispatcherv1.DispatcherServiceClient
	stop func()
}

// replica starts a dispatcher with a client of its own, for some lanes or all.
func (y *yard) replica(lanes ...string) *replica {
	y.tb.Helper()
	shared := y.client
	y.client = y.kafka.Client(func(c *broker.Config) { c.Partitions = 4 })
	y.cfg.Lanes = lanes
	y.start()
	y.client = shared
	return &replica{y.api, y.stop}
}
