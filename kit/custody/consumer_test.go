package custody_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/telemetry"
)

const (
	lane    = "kurir.lane.otp"
	outcome = "kurir.outcome.otp"
)

// hands is a handler that remembers everything and decides nothing.
type hands struct {
	got chan *custody.Delivery // every delivery, unbuffered: the test takes them

	mu        sync.Mutex
	recovered map[int][]string // partition -> values of the journal
	revoked   []int
}

func newHands() *hands {
	return &hands{got: make(chan *custody.Delivery), recovered: map[int][]string{}}
}

func (h *hands) Recover(_ context.Context, r custody.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recovered[r.Partition] = append(h.recovered[r.Partition], string(r.Value))
}

func (h *hands) Handle(d *custody.Delivery) {
	select {
	case h.got <- d:
	case <-d.Drain():
		d.Abandon()
	}
}

func (h *hands) Revoke(partition int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revoked = append(h.revoked, partition)
	delete(h.recovered, partition)
}

func (h *hands) journal(partition int) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.recovered[partition])
}

// next takes the next delivery.
func (h *hands) next(t *testing.T) *custody.Delivery {
	t.Helper()
	select {
	case d := <-h.got:
		return d
	case <-t.Context().Done():
		t.Fatal("no delivery comes")
		return nil
	}
}

// take takes n deliveries, by value.
func (h *hands) take(t *testing.T, n int) map[string]*custody.Delivery {
	t.Helper()
	all := make(map[string]*custody.Delivery, n)
	for range n {
		d := h.next(t)
		if all[string(d.Value)] != nil {
			t.Fatalf("record %s is handed out twice", d.Value)
		}
		all[string(d.Value)] = d
	}
	return all
}

// quick is a configuration for tests that wait for sessions to expire.
func quick() custody.Config {
	return custody.Config{
		Group: "dispatcher", Topic: lane, Journal: outcome, CommitEvery: time.Millisecond,
		Heartbeat: 50 * time.Millisecond, Session: 500 * time.Millisecond, Drain: 5 * time.Second, Rebalance: 10 * time.Second,
		StallAfter: 100 * time.Millisecond, JournalRewind: 1,
	}
}

// running is a consumer at work.
type running struct {
	*custody.Consumer
	stop context.CancelFunc
	done chan struct{}
}

func (r *running) halt() {
	r.stop()
	<-r.done
}

func start(t *testing.T, c *broker.Client, h custody.Handler, cfg custody.Config) *running {
	t.Helper()
	return watched(t, c, telemetry.Discard(), h, cfg)
}

// watched is start with eyes on it.
func watched(t *testing.T, c *broker.Client, eyes *telemetry.Telemetry, h custody.Handler, cfg custody.Config) *running {
	t.Helper()
	consumer, err := custody.New(c, eyes, h, cfg)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{Consumer: consumer, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := consumer.Run(ctx); err != nil {
			t.Errorf("Run() = %v", err)
		}
	}()
	t.Cleanup(r.halt)
	return r
}

// one is a broker with lanes of one partition in each band; most tests use the
// ordinary one.
func one(t *testing.T) (*brokertest.Broker, *broker.Client, *broker.Producer) {
	t.Helper()
	b := brokertest.New(t, nil)
	c := b.Client(func(cfg *broker.Config) { cfg.Partitions = 1 }, "otp")
	p := b.Producer(c)
	return b, c, p
}

// put produces values to partition p of a topic and returns their offsets.
func put(t *testing.T, p *broker.Producer, topic string, partition int, values ...string) []int64 {
	t.Helper()
	offsets := make([]int64, len(values))
	for i, v := range values {
		pos, err := p.Produce(t.Context(), broker.Message{Topic: topic, Partition: partition, Key: []byte(v), Value: []byte(v)})
		if err != nil {
			t.Fatalf("Produce(%s) = %v", v, err)
		}
		offsets[i] = pos.Offset
	}
	return offsets
}

func keys(m map[string]*custody.Delivery) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func TestOutOfOrderAndRestart(t *testing.T) {
	t.Parallel()
	b, c, p := one(t)
	put(t, p, lane, 0, "a", "b", "c", "d", "e", "f")
	h := newHands()
	first := start(t, c, h, quick())
	got := h.take(t, 6)
	for _, v := range []string{"e", "b", "c"} {
		got[v].Complete(-1)
	}
	got["a"].Abandon()
	for _, v := range []string{"d", "f"} {
		got[v].Abandon()
	}
	first.halt()

	b.Stop()
	b.Start()
	c = b.Client(nil)
	h = newHands()
	second := start(t, c, h, quick())
	got = h.take(t, 3)
	if want := []string{"a", "d", "f"}; !slices.Equal(keys(got), want) {
		t.Fatalf("after restart %v come again, want %v", keys(got), want)
	}
	for _, d := range got {
		d.Complete(-1)
	}
	second.halt()
	lag, err := c.Lag(t.Context(), "dispatcher", lane)
	if err != nil || lag[lane].Depth != 0 {
		t.Errorf("Lag() = %+v, %v after all is done, want depth 0", lag, err)
	}
}

func TestJournalComesFirst(t *testing.T) {
	t.Parallel()
	_, c, p := one(t)
	put(t, p, lane, 0, "a", "b")
	h := newHands()
	first := start(t, c, h, quick())
	got := h.take(t, 2)
	// b is delivered and journalled, but its completion never reaches a
	// commit: the process is gone.
	put(t, p, outcome, 0, "a committing", "b delivered")
	got["a"].Abandon()
	got["b"].Abandon()
	first.halt()

	h = newHands()
	start(t, c, h, quick())
	d := h.next(t)
	if want := []string{"a committing", "b delivered"}; !slices.Equal(h.journal(0), want) {
		t.Errorf("journal at the first Handle = %v, want %v", h.journal(0), want)
	}
	if string(d.Value) != "a" || !d.Alive() || d.Draining() || d.Context().Err() != nil {
		t.Errorf("delivery %s: Alive() = %v, Draining() = %v, want a live one of a", d.Value, d.Alive(), d.Draining())
	}
	d.Complete(0)
	h.next(t).Complete(1)
}

// What is settled far in the past is not read back, what is open is.
func TestJournalPositionMoves(t *testing.T) {
	t.Parallel()
	_, c, p := one(t)
	h := newHands()
	cfg := quick()
	cfg.JournalRewind = 1
	first := start(t, c, h, cfg)
	for i := range 20 {
		put(t, p, lane, 0, string(rune('a'+i)))
		d := h.next(t)
		d.Complete(put(t, p, outcome, 0, "out "+string(d.Value))[0])
	}
	put(t, p, lane, 0, "open")
	h.next(t).Abandon()
	first.halt()

	h = newHands()
	start(t, c, h, cfg)
	h.next(t).Complete(-1)
	if got := h.journal(0); len(got) > 2 {
		t.Errorf("journal read back = %v, want no more than the rewind", got)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	_, c, p := one(t)
	values := make([]string, 30)
	for i := range values {
		values[i] = string(rune('A' + i))
	}
	put(t, p, lane, 0, values...)
	tests := []struct {
		name   string
		change func(*custody.Config)
		want   int
	}{
		{"records", func(cfg *custody.Config) { cfg.MaxRecords = 7 }, 7},
		{"bytes", func(cfg *custody.Config) { cfg.MaxBytes = 9 }, 4}, // two bytes each
		{"one always passes", func(cfg *custody.Config) { cfg.MaxBytes = 1 }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := quick()
			cfg.Group = tt.name
			tt.change(&cfg)
			h := newHands()
			r := start(t, c, h, cfg)
			held := h.take(t, tt.want)
			// Each completion lets one more through, and only one.
			for range len(values) - tt.want {
				for v, d := range held {
					d.Complete(-1)
					delete(held, v)
					break
				}
				d := h.next(t)
				held[string(d.Value)] = d
				outstanding, st := 0, r.Stats() // a partition is in it once it is recovered
				for _, s := range st {
					outstanding += s.Outstanding
				}
				if outstanding == 0 || outstanding > tt.want {
					t.Fatalf("Stats() = %+v, want at most %d outstanding", st, tt.want)
				}
			}
			for _, d := range held {
				d.Complete(-1)
			}
		})
	}
}

func TestAbandonComesAgain(t *testing.T) {
	t.Parallel()
	_, c, p := one(t)
	put(t, p, lane, 0, "a", "b")
	h := newHands()
	start(t, c, h, quick())
	got := h.take(t, 2)
	got["a"].Abandon()
	d := h.next(t)
	if string(d.Value) != "a" {
		t.Fatalf("%s comes again, want a", d.Value)
	}
	got["a"].Complete(-1) // too late, says nothing
	d.Complete(-1)
	d.Complete(-1) // once is enough
	got["b"].Complete(-1)
}

func TestStopDrains(t *testing.T) {
	t.Parallel()
	_, c, p := one(t)
	put(t, p, lane, 0, "a", "b")
	h := newHands()
	r := start(t, c, h, quick())
	got := h.take(t, 2)
	r.stop()
	<-got["a"].Drain()
	if !got["a"].Draining() || got["a"].Context().Err() != nil || !got["a"].Alive() {
		t.Error("a draining delivery may still end")
	}
	put(t, p, lane, 0, "late")
	got["a"].Complete(-1)
	got["b"].Complete(-1)
	<-r.done
	if got["b"].Context().Err() == nil {
		t.Error("Context() of a released partition is alive")
	}
	h.mu.Lock()
	if !slices.Equal(h.revoked, []int{0, 1}) {
		t.Errorf("revoked = %v, want [0 1]", h.revoked)
	}
	h.mu.Unlock()

	h = newHands()
	start(t, c, h, quick())
	if d := h.next(t); string(d.Value) != "late" {
		t.Errorf("after draining %s comes, want late", d.Value)
	} else {
		d.Complete(-1)
	}
}

func TestStopDrainBound(t *testing.T) {
	t.Parallel()
	_, c, p := one(t)
	put(t, p, lane, 0, "a")
	h := newHands()
	cfg := quick()
	cfg.Drain = time.Millisecond
	r := start(t, c, h, cfg)
	d := h.next(t)
	r.stop()
	<-d.Context().Done()
	<-r.done
	d.Complete(-1) // nobody listens any more

	h = newHands()
	start(t, c, h, cfg)
	if d := h.next(t); string(d.Value) != "a" {
		t.Errorf("%s comes, want a, which did not end in time", d.Value)
	} else {
		d.Complete(-1)
	}
}
