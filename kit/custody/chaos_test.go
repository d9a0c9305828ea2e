package custody_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody"
)

// sink is where mail ends: it counts what was really sent.
type sink struct {
	mu   sync.Mutex
	sent map[string]int
}

func (s *sink) send(v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[v]++
}

func (s *sink) count() (sent, twice int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.sent {
		sent++
		if n > 1 {
			twice++
		}
	}
	return sent, twice
}

// sender is a dispatcher in small: it asks the journal, sends, writes the
// journal, and only then lets go.
type sender struct {
	sink    *sink
	journal *broker.Producer
	work    sync.WaitGroup

	mu   sync.Mutex
	done map[int]map[string]int64 // partition -> record -> journal offset
}

func (s *sender) settle(partition int, v string, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done[partition] == nil {
		s.done[partition] = map[string]int64{}
	}
	s.done[partition][v] = at
}

func (s *sender) Recover(_ context.Context, r custody.Record) {
	s.settle(r.Partition, string(r.Value), r.Offset)
}

func (s *sender) Revoke(partition int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.done, partition)
}

func (s *sender) Handle(d *custody.Delivery) {
	s.mu.Lock()
	at, settled := s.done[d.Partition][string(d.Value)]
	s.mu.Unlock()
	if settled {
		d.Complete(at)
		return
	}
	s.work.Go(func() { s.deliver(d) })
}

func (s *sender) deliver(d *custody.Delivery) {
	slow := time.NewTimer(time.Duration(5+d.Offset%17) * time.Millisecond)
	defer slow.Stop()
	select {
	case <-slow.C:
	case <-d.Drain():
		d.Abandon()
		return
	}
	if !d.Alive() {
		d.Abandon()
		return
	}
	s.sink.send(string(d.Value))
	pos, err := s.journal.Produce(d.Context(), broker.Message{Topic: outcome, Partition: d.Partition, Value: d.Value})
	if err != nil {
		d.Abandon()
		return
	}
	s.settle(d.Partition, string(d.Value), pos.Offset)
	d.Complete(pos.Offset)
}

// Senders fall silent and wake up again, in turns, under load. Everything is
// sent, and twice only what was between its sending and its journal when its
// sender fell silent.
func TestChaos(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(func(cfg *broker.Config) { cfg.Partitions = 2 }, "otp")
	p := b.Producer(c)
	const total, window, rounds = 5000, 20, 4

	all := &sink{sent: map[string]int{}}
	cfg := quick()
	cfg.MaxRecords, cfg.Drain = window, 200*time.Millisecond
	wires, senders := make([]*wire, 2), make([]*running, 2)
	for i := range wires {
		w, far := newWire(t, b)
		wires[i] = w
		s := &sender{sink: all, journal: b.Producer(far), done: map[int]map[string]int64{}}
		t.Cleanup(s.work.Wait)
		senders[i] = start(t, far, s, cfg)
	}
	for i := range total {
		if err := p.Enqueue(broker.Message{
			Topic: lane, Partition: i % 2, Value: []byte("mail " + strconv.Itoa(i)),
		}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for round := range rounds {
		falls, stands := round%2, (round+1)%2
		eventually(t, func() bool { return len(senders[falls].Stats()) > 0 })
		wires[falls].silence(true)
		eventually(t, func() bool { return len(senders[stands].Stats()) == 2 }) // it took over
		before, _ := all.count()
		eventually(t, func() bool { n, _ := all.count(); return n > before+100 || n == total })
		wires[falls].silence(false)
	}
	eventually(t, func() bool { n, _ := all.count(); return n == total && depth(t, c) == 0 })
	if _, twice := all.count(); twice > rounds*window {
		t.Errorf("%d of %d were sent twice, want at most the %d in flight when senders fell silent", twice, total, rounds*window)
	} else {
		t.Logf("%d of %d sent twice after %d silences", twice, total, rounds)
	}
	for v := range all.sent {
		if !strings.HasPrefix(v, "mail ") {
			t.Errorf("sent %q, which nobody submitted", v)
		}
	}
}
