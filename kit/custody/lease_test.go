package custody

import (
	"strings"
	"testing"
	"time"
)

func TestLease(t *testing.T) {
	t.Parallel()
	l := newLease(10*time.Second, 20*time.Second)
	now := time.Now()
	if l.alive(now) || l.expired(now) {
		t.Error("a lease without a heartbeat neither lives nor is expired")
	}
	l.beat(now, false)
	for _, tt := range []struct {
		name string
		at   time.Time
		want bool
	}{
		{"at once", now, true},
		{"late", now.Add(8 * time.Second), true},
		{"within the margin", now.Add(9 * time.Second), false},
		{"over", now.Add(time.Minute), false},
		{"the machine slept", now.Round(0).Add(time.Minute), false}, // no monotonic reading
	} {
		if got := l.alive(tt.at); got != tt.want {
			t.Errorf("%s: alive() = %v, want %v", tt.name, got, tt.want)
		}
	}
	if !l.expired(now.Add(time.Minute)) {
		t.Error("expired() a minute later = false, want true")
	}
	if !l.lose() || l.lose() || l.alive(now) {
		t.Error("a lease is lost once, and for good")
	}
}

// A lease in a rebalance ends with the round, however often it is answered that
// the round is under way, and such an answer begins none.
func TestLeaseInRebalance(t *testing.T) {
	t.Parallel()
	l := newLease(10*time.Second, 20*time.Second)
	now := time.Now()
	if l.beat(now, true); l.alive(now) {
		t.Error("alive() = true after an answer that the group rebalances, and no other before")
	}
	l.beat(now, false)
	for s := 1; s <= 30; s++ {
		at := now.Add(time.Duration(s) * time.Second)
		l.beat(at, true)
		if got, want := l.alive(at), s < 18; got != want {
			t.Errorf("alive() %d s after the last heartbeat outside the rebalance = %v, want %v", s, got, want)
		}
	}
}

// An answer that is read late, after the process stood still for instance, says
// no more than when it was asked for.
func TestLeaseCountsFromTheQuestion(t *testing.T) {
	t.Parallel()
	l := newLease(10*time.Second, 20*time.Second)
	asked := time.Now()
	after := asked.Add
	if l.beat(asked, false); l.alive(after(9 * time.Second)) {
		t.Error("alive() = true as the answer is read, though its question is a session old")
	}
	l.beat(after(5*time.Second), false)
	l.beat(after(time.Second), false) // overtaken
	if !l.alive(after(14*time.Second - 1)) {
		t.Error("alive() = false, though a younger question was answered before")
	}
	if l.alive(after(14 * time.Second)) {
		t.Error("alive() = true a session after the last question")
	}
	if !strings.Contains(l.sent.String(), "m=") {
		t.Errorf("the lease counts from %v, which has no monotonic reading", l.sent)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*Config)
		ok     bool
	}{
		{"default", func(*Config) {}, true},
		{"no group", func(c *Config) { c.Group = "" }, false},
		{"no topic", func(c *Config) { c.Topic = "" }, false},
		{"short session", func(c *Config) { c.Session = time.Second }, false},
		{"drain outlasts the rebalance", func(c *Config) { c.Drain = time.Minute }, false},
		{"negative window", func(c *Config) { c.MaxRecords = -1 }, false},
		{"negative rewind", func(c *Config) { c.JournalRewind = -1 }, false},
	} {
		c := Default()
		c.Group, c.Topic = "g", "t"
		tt.change(&c)
		if err := c.Validate(); (err == nil) != tt.ok {
			t.Errorf("%s: Validate() = %v, want ok %v", tt.name, err, tt.ok)
		}
	}
}
