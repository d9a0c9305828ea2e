package dispatcher_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"kurir.dev/kit/lane"
	"kurir.dev/kit/mxsim"
	"kurir.dev/services/dispatcher"
)

// gated is a script whose answers to the dot wait until it is opened. asked
// hears of each.
func gated(asked chan<- string, open <-chan struct{}) mxsim.Script {
	return func(e mxsim.Event) mxsim.Reply {
		if e.Stage == mxsim.Dot {
			asked <- e.Arg
			<-open
		}
		return mxsim.Reply{}
	}
}

// The broker goes away while mails are at the dot, for so long that their
// leases are lost, and the hosts take them: each is written down as delivered
// when the broker is back, and none is sent again.
func TestOutageForgetsNoDelivery(t *testing.T) {
	t.Parallel()
	y := build(t)
	y.cfg.Lease = dispatcher.Lease{Heartbeat: 100 * time.Millisecond, Session: 500 * time.Millisecond, Rebalance: 3 * time.Second, Drain: time.Second}
	lost := y.listen("lease lost", "kurir.dispatcher.bulk")
	y.start()
	asked, open := make(chan string, 100), make(chan struct{})
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: gated(asked, open)})
	y.dns.MX("example.org", "mx.example.org")
	const n = 3
	for range n {
		y.send(lane.Bulk, "ana@example.org")
	}
	for range n {
		<-asked
	}
	y.kafka.Stop()
	<-lost
	close(open)
	if err := mx.WaitMails(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	y.kafka.Start()
	next := y.outcomes(lane.Bulk)
	seen := map[string]bool{}
	for len(seen) < n {
		ev := next()
		if ev.GetType() != delivered {
			t.Fatalf("event %v", ev)
		}
		seen[ev.GetMailId()] = true
	}
	y.settled(lane.Bulk, n)
	if got := mx.Stats().Mails; got != n {
		t.Errorf("the host took %d mails, want each of %d once", got, n)
	}
}

// The broker is back, and hands out the records anew, while their mails are at
// the dot still.
func TestOutageJoinsWhatIsAtTheDot(t *testing.T) {
	t.Parallel()
	y := build(t)
	y.cfg.Lease = dispatcher.Lease{Heartbeat: 100 * time.Millisecond, Session: 500 * time.Millisecond, Rebalance: 3 * time.Second, Drain: time.Second}
	lost := y.listen("lease lost", "kurir.dispatcher.bulk")
	y.start()
	asked, open := make(chan string, 100), make(chan struct{})
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: gated(asked, open)})
	mx2 := y.host("mx.example.net", mxsim.HostConfig{})
	y.dns.MX("example.org", "mx.example.org")
	y.dns.MX("example.net", "mx.example.net")
	e := y.send(lane.Bulk, "ana@example.org")
	<-asked
	y.kafka.Stop()
	<-lost
	y.kafka.Start()
	later := y.send(lane.Bulk, "ana@example.net") // behind it: when it is delivered the other was handed out
	next := y.outcomes(lane.Bulk)
	want(t, next(), later, delivered)
	close(open)
	want(t, next(), e, delivered)
	y.settled(lane.Bulk, 2)
	if mx.Stats().Mails != 1 || mx2.Stats().Mails != 1 || len(asked) != 0 {
		t.Errorf("the hosts took %d and %d mails, and saw %d more dots; want each once", mx.Stats().Mails, mx2.Stats().Mails, len(asked))
	}
}

// A mail whose record comes twice goes out once, even when the second is read
// by an owner that begins anew behind many others.
func TestNewOwnerKnowsOldTwins(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.Bulk)
	const n = 300 // well beyond what the consumer rewinds by itself
	first := y.send(lane.Bulk, "ana@example.org")
	want(t, next(), first, delivered)
	for range n {
		y.send(lane.Bulk, "ana@example.org")
	}
	for range n {
		next()
	}
	y.settled(lane.Bulk, n+1)
	y.stop()
	y.submit(first)
	y.start()
	y.settled(lane.Bulk, n+2)
	if got := mx.Stats().Mails; got != n+1 {
		t.Errorf("the host took %d mails, want each of %d once", got, n+1)
	}
}

// listen tells of the dispatcher's log lines that hold all of the words.
func (y *yard) listen(words ...string) <-chan struct{} {
	heard := make(chan struct{}, 1)
	tel := *y.tel
	tel.Log = slog.New(slog.NewJSONHandler(listener{heard, words}, nil))
	y.tel = &tel
	return heard
}

type listener struct {
	heard chan struct{}
	words []string
}

func (l listener) Write(line []byte) (int, error) {
	for _, w := range l.words {
		if !strings.Contains(string(line), w) {
			return len(line), nil
		}
	}
	select {
	case l.heard <- struct{}{}:
	default:
	}
	return len(line), nil
}

func TestLeaseDrainMustFit(t *testing.T) {
	t.Parallel()
	cfg := dispatcher.Default()
	cfg.Drain = 30 * time.Second
	if err := cfg.Validate(); err == nil {
		t.Errorf("Validate() of a drain of %v = nil, want the lanes' 30 s named", cfg.Drain)
	}
	cfg.Lease.Drain = 20 * time.Second
	if err := cfg.Validate(); err != nil {
		t.Errorf("Validate() = %v", err)
	}
	cfg.Lease.Rebalance = 10 * time.Second
	if err := cfg.Validate(); err == nil {
		t.Error("Validate() of a rebalance shorter than the drain = nil")
	}
}
