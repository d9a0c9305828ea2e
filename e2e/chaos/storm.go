package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// Options choose a run.
type Options struct {
	// Seed makes plan and traffic, Kills and Mails say how much of them.
	Seed         uint64
	Kills, Mails int
}

// bounds of the phases without faults.
const (
	startBound = 2 * time.Minute
	drainBound = 3 * time.Minute
)

// storm is one run.
type storm struct {
	*testing.T
	options  Options
	internet *internet
	mesh     *cluster
	tap      *tap
	product  *product
	operator *operator
	router   routerv1.RouterServiceClient
	tracker  trackerv1.TrackerServiceClient
	strokes  []Stroke
	base     map[string]Gauge
	report   report
}

// Run sends the traffic through a mesh while the plan's faults strike it, and
// judges what became of every mail. Command is how to run the same again.
func Run(t *testing.T, o Options, command string) {
	t.Helper()
	plan, mails := NewPlan(o.Seed, o.Kills), NewTraffic(o.Seed, o.Mails)
	t.Logf("seed %d, again with:\n%s", o.Seed, command)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d, again with:\n%s", o.Seed, command)
		}
	})
	s := &storm{T: t, options: o, internet: newInternet(t, o.Seed), base: map[string]Gauge{}, report: newReport()}
	s.mesh = newCluster(t, s.internet)
	s.connect(mails)
	s.ready()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.tap.start(ctx, lane.Default().Names(), s.mesh.direct.Partitions)
	s.warm(ctx)

	watch, done := context.WithCancel(ctx)
	defer done()
	begin := time.Now()
	s.operator.start(watch)
	long := plan[len(plan)-1].At
	s.product.start(ctx, func(i int) time.Duration { return long * time.Duration(i) / time.Duration(len(mails)) })
	s.rage(plan)
	s.report.storm = time.Since(begin)
	calm := time.Now()
	s.ready()
	t.Logf("all ready again after %v", time.Since(calm))
	done()
	s.operator.wait()
	s.product.wait()
	t.Logf("all sent after %v", time.Since(calm))
	s.drain(ctx, mails)
	s.report.drain = time.Since(calm)
	s.judge(ctx, mails)
	s.settle(ctx)
	t.Logf("judged and settled after %v", time.Since(calm))
	cancel()
	s.tap.wait()
	s.mesh.stop()
	for _, f := range s.tap.faults {
		t.Error(f)
	}
	t.Log(s.report.String(s.strokes))
}

// connect makes clients of the services, and the tap on the broker.
func (s *storm) connect(mails []*Mail) {
	s.Helper()
	dial := func(name string) *rpcConn {
		conn, err := rpc.Dial(rpc.ClientConfig{Target: s.mesh.doors[name]}, rpc.ClientDeps{Telemetry: telemetry.Discard()})
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	s.router = routerv1.NewRouterServiceClient(dial(router))
	s.tracker = trackerv1.NewTrackerServiceClient(dial(tracker))
	s.product = &product{mail: mailv1.NewMailServiceClient(dial(composer)), router: s.router, mails: mails}
	s.operator = &operator{router: s.router}
	var err error
	if s.tap, err = newTap(s.mesh.direct, s.mesh.keyring); err != nil {
		s.Fatal(err)
	}
}

// poll calls check until it returns nil; the last error when that did not
// happen within the bound.
func poll(ctx context.Context, bound time.Duration, check func(ctx context.Context) error) error {
	for end := time.Now().Add(bound); ; {
		err := check(ctx)
		if err == nil || !time.Now().Before(end) || !until(ctx, time.Now().Add(250*time.Millisecond)) {
			return err
		}
	}
}

// ready waits until every process can do its work.
func (s *storm) ready() {
	s.Helper()
	for _, name := range services() {
		err := poll(s.Context(), startBound, func(ctx context.Context) error { return s.mesh.unready(ctx, name) })
		if err != nil {
			s.Fatalf("%s is not ready: %v\n%s", name, err, s.mesh.members[name].proc.Stderr())
		}
	}
}

// warm sends some mail of each lane, and then measures what the processes use.
func (s *storm) warm(ctx context.Context) {
	s.Helper()
	begin := time.Now()
	defer func() { s.Logf("warm after %v", time.Since(begin)) }()
	var mails []*Mail
	for i := range 40 * len(lane.Default()) {
		mails = append(mails, &Mail{N: 1_000_000 + i, Lane: lane.Default()[i%4].Name, Dest: Fast})
	}
	p := &product{mail: s.product.mail, router: s.router, mails: mails}
	p.start(ctx, func(int) time.Duration { return 0 })
	p.wait()
	if s.drain(ctx, mails); s.Failed() {
		s.FailNow()
	}
	for _, name := range services() {
		m := s.mesh.members[name]
		g, err := gauge(ctx, m.ops, m.proc.PID())
		if err != nil {
			s.Fatalf("measuring %s: %v", name, err)
		}
		s.base[name] = g
	}
}

// rage carries out the plan.
func (s *storm) rage(plan []Fault) {
	s.Helper()
	begin := time.Now()
	s.strokes = make([]Stroke, len(plan))
	for _, step := range steps(plan) {
		if !until(s.Context(), begin.Add(step.at)) {
			s.Fatal("the test was over before the storm")
		}
		f := plan[step.fault]
		if step.undo {
			s.mesh.undo(f)
			s.strokes[step.fault].To = time.Now()
			continue
		}
		if f.kills() > 0 {
			for target := range strings.SplitSeq(f.Target, "+") {
				s.meter(target)
			}
		}
		s.strokes[step.fault] = Stroke{Fault: f, From: time.Now()}
		s.mesh.strike(f)
	}
}

// meter adds what a dispatcher that is about to end counted as possible
// duplicates; one that does not answer has had no time to count any.
func (s *storm) meter(name string) {
	if name != dispatcher1 && name != dispatcher2 {
		return
	}
	ctx, cancel := context.WithTimeout(s.Context(), 500*time.Millisecond)
	defer cancel()
	if text, err := page(ctx, "http://"+s.mesh.members[name].ops+"/metrics"); err == nil {
		s.report.metric += possible(text)
	}
}

// drain waits until every mail that was accepted has ended and nothing is left
// on a lane or waits.
func (s *storm) drain(ctx context.Context, mails []*Mail) {
	s.Helper()
	said := time.Now()
	err := poll(ctx, drainBound, func(ctx context.Context) error {
		err := s.drained(ctx, mails)
		if err != nil && time.Since(said) > 10*time.Second {
			said = time.Now()
			s.Logf("%s: not drained yet: %v", said.Format(clock), err)
		}
		return err
	})
	if err != nil {
		for _, name := range services() {
			s.Logf("%s:\n%s", name, tail(s.mesh.members[name].proc.Stderr()))
		}
		s.Errorf("it is not drained within %v: %v", drainBound, err)
	}
}

// drained is what is left to do of the mails, nil for nothing.
func (s *storm) drained(ctx context.Context, mails []*Mail) error {
	if err := s.operator.calm(ctx); err != nil {
		return err
	}
	left := 0
	var one *Mail
	for _, m := range mails {
		if id := m.id(); id != "" && !slices.ContainsFunc(s.tap.about(id), func(t Told) bool { return final(t.Event.GetType()) }) {
			left++
			one = m
		}
	}
	res, err := s.router.ListLanes(ctx, &routerv1.ListLanesRequest{})
	if err != nil {
		return fmt.Errorf("listing lanes: %w", err)
	}
	if left > 0 {
		return fmt.Errorf("%d mails have no end yet, such as %s to %s on lane %s; lanes: %v", left, one.id(), one.To(), one.Lane, res.GetLanes())
	}
	for _, l := range res.GetLanes() {
		if l.GetDepth() != 0 || l.GetWaiting() != 0 {
			return fmt.Errorf("lane %s has a depth of %d, and %d mails wait", l.GetName(), l.GetDepth(), l.GetWaiting())
		}
	}
	return nil
}

// tail is the end of a log.
func tail(log string) string { return log[max(0, len(log)-4000):] }

// judge looks at every mail.
func (s *storm) judge(ctx context.Context, mails []*Mail) {
	s.Helper()
	shown := 0
	for _, m := range mails {
		for _, why := range m.Faults {
			s.Errorf("mail to %s: %s", m.To(), why)
		}
		c := Case{
			ID: m.id(), Lane: m.Lane, Accepted: m.Receipt != nil, Cancelled: m.Cancelled, Tried: m.Tried,
			Dest: m.Dest, Story: s.internet.judge.about(m.To()),
		}
		if c.Accepted {
			c.ExpiresAt = m.Receipt.GetExpiresAt().AsTime()
		}
		known := s.tap.known(m.To())
		if c.ID == "" && len(known) == 1 {
			c.ID = known[0]
		}
		if len(known) > 1 {
			s.Errorf("to %s, who was written to once, went the mails %v", m.To(), known)
		}
		c.Told = s.tap.about(c.ID)
		if c.ID != "" {
			c.Timeline = s.timeline(ctx, c)
		}
		f := Judge(c, s.strokes)
		s.report.add(m, c, f, s.strokes)
		if len(f.Faults) > 0 {
			if shown++; shown <= 20 {
				s.Errorf("mail %s to %s on lane %s (accepted %t): %s\n%s", c.ID, m.To(), m.Lane, c.Accepted, strings.Join(f.Faults, "; "), c.Tale(s.strokes...))
			} else {
				s.Errorf("mail %s to %s on lane %s: %s", c.ID, m.To(), m.Lane, strings.Join(f.Faults, "; "))
			}
		}
	}
}

// timeline asks the tracker what it knows of a mail, for as long as it has
// less than the topics.
func (s *storm) timeline(ctx context.Context, c Case) []*eventsv1.Event {
	var timeline []*eventsv1.Event
	_ = poll(ctx, 20*time.Second, func(ctx context.Context) error { // the case shows what is missing
		res, err := s.tracker.GetMail(ctx, &trackerv1.GetMailRequest{MailId: c.ID})
		if errors.Is(err, fault.NotFound) && len(c.Told) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		timeline = res.GetTimeline()
		if c.Accepted && !slices.ContainsFunc(timeline, func(ev *eventsv1.Event) bool { return final(ev.GetType()) }) {
			return errors.New("it has no end")
		}
		return nil
	})
	return timeline
}

// settle waits until the processes use no more than before the storm.
func (s *storm) settle(ctx context.Context) {
	s.Helper()
	for _, name := range services() {
		m := s.mesh.members[name]
		var g Gauge
		err := poll(ctx, time.Minute, func(ctx context.Context) (err error) {
			if g, err = gauge(ctx, m.ops, m.proc.PID()); err != nil {
				return err
			}
			if why := g.above(s.base[name]); why != "" {
				return errors.New(why)
			}
			return nil
		})
		if err != nil {
			s.Errorf("%s does not come back to what it used: %v", name, err)
		}
		s.report.gauges[name] = [2]Gauge{s.base[name], g}
		s.meter(name)
	}
	if s.report.metric < s.report.doubts {
		s.Errorf("the dispatchers counted %d possible duplicates, want the %d whose host hung up on them at least", s.report.metric, s.report.doubts)
	}
}
