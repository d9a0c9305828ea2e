package custody_test

import (
	"context"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody"
)

// wire is the network between a client and the broker, which can fall silent.
type wire struct {
	target net.Addr
	ln     net.Listener

	mu     sync.Mutex
	moving *sync.Cond
	silent bool
	deaf   int // how many fetches of the consumer are not passed on
	conns  []net.Conn
	tasks  sync.WaitGroup
}

// newWire returns a wire to b and the client at its end.
func newWire(t *testing.T, b *brokertest.Broker) (*wire, *broker.Client) {
	t.Helper()
	ln, target := b.Detour()
	w := &wire{target: target, ln: ln}
	w.moving = sync.NewCond(&w.mu)
	w.tasks.Go(w.accept)
	t.Cleanup(w.close)
	addr := ln.Addr().String()
	if ln.Addr().Network() == "unix" {
		addr = "unix:" + addr
	}
	return w, b.Client(func(cfg *broker.Config) { cfg.Addrs = []string{addr} })
}

func (w *wire) accept() {
	for {
		here, err := w.ln.Accept()
		if err != nil {
			return
		}
		there, err := net.Dial(w.target.Network(), w.target.String())
		if err != nil {
			_ = here.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, here, there)
		w.mu.Unlock()
		w.tasks.Go(func() { w.ask(here, there) })
		w.tasks.Go(func() { w.carry(there, here) })
	}
}

func (w *wire) carry(from, to net.Conn) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		for w.silent {
			w.moving.Wait()
		}
		w.mu.Unlock()
		if _, werr := to.Write(buf[:n]); werr != nil || err != nil {
			return
		}
	}
}

// ask carries requests, but for the fetches it is to swallow.
func (w *wire) ask(from, to net.Conn) {
	defer to.Close()
	var size [4]byte
	for {
		if _, err := io.ReadFull(from, size[:]); err != nil {
			return
		}
		frame := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
		copy(frame, size[:])
		if _, err := io.ReadFull(from, frame[4:]); err != nil {
			return
		}
		const fetch = 1 // https://kafka.apache.org/protocol: the key comes first
		w.mu.Lock()
		for w.silent {
			w.moving.Wait()
		}
		swallow := w.deaf > 0 && binary.BigEndian.Uint16(frame[4:]) == fetch
		if swallow {
			w.deaf--
		}
		w.mu.Unlock()
		if swallow {
			continue
		}
		if _, err := to.Write(frame); err != nil {
			return
		}
	}
}

// swallow keeps the next n fetches from the broker: they are never answered.
func (w *wire) swallow(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf = n
}

func (w *wire) left() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deaf
}

func (w *wire) silence(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = on
	w.moving.Broadcast()
}

func (w *wire) close() {
	_ = w.ln.Close()
	w.silence(false)
	w.mu.Lock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.tasks.Wait()
}

// A process that hangs loses its lease, is told so, and cannot rewind its
// successor when it wakes up.
func TestZombieIsFenced(t *testing.T) {
	t.Parallel()
	b, c, p := one(t)
	put(t, p, lane, 0, "a", "b", "c")
	w, far := newWire(t, b)
	zombie := newHands()
	start(t, far, zombie, quick())
	held := zombie.take(t, 3)
	held["c"].Complete(put(t, p, outcome, 0, "c delivered")[0])
	eventually(t, func() bool { return depth(t, c) == 2 })
	w.silence(true)
	held["b"].Complete(put(t, p, outcome, 0, "b delivered")[0]) // never committed

	h := newHands()
	start(t, c, h, quick())
	<-held["a"].Context().Done() // the lease ran out
	if held["a"].Alive() {
		t.Error("Alive() of a zombie = true")
	}
	got := h.take(t, 2)
	if want := []string{"a", "b"}; !slices.Equal(keys(got), want) {
		t.Fatalf("successor gets %v, want %v", keys(got), want)
	}
	if want := []string{"c delivered", "b delivered"}; !slices.Equal(h.journal(0), want) {
		t.Errorf("successor's journal = %v, want %v", h.journal(0), want)
	}
	got["a"].Complete(-1)
	got["b"].Complete(-1)
	eventually(t, func() bool { return depth(t, c) == 0 })

	w.silence(false)
	held["a"].Complete(-1)
	put(t, p, lane, 0, "d", "e") // whoever owns the partition now, nothing old comes
	seen := map[string]bool{}
	for len(seen) < 2 {
		select {
		case d := <-h.got:
			seen[string(d.Value)] = true
			d.Complete(-1)
		case d := <-zombie.got:
			seen[string(d.Value)] = true
			d.Complete(-1)
		case <-t.Context().Done():
			t.Fatal("nothing comes")
		}
	}
	if !seen["d"] || !seen["e"] {
		t.Errorf("after the zombie woke up %v came, want d and e", seen)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("never came true")
		}
	}
}

func depth(t *testing.T, c *broker.Client) int64 {
	t.Helper()
	lag, err := c.Lag(t.Context(), "dispatcher", lane)
	if err != nil {
		t.Fatal(err)
	}
	return lag[lane].Depth
}

// tally completes everything and counts.
type tally struct {
	mu   sync.Mutex
	seen map[string]int
	more chan struct{}
}

func (*tally) Recover(context.Context, custody.Record) {}
func (*tally) Revoke(int)                              {}

func (y *tally) Handle(d *custody.Delivery) {
	y.mu.Lock()
	y.seen[string(d.Value)]++
	y.mu.Unlock()
	d.Complete(-1)
	select {
	case y.more <- struct{}{}:
	default:
	}
}

func (y *tally) counts() map[string]int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return maps.Clone(y.seen)
}

// Members come and go while records flow: none is lost, and as all drain
// cleanly, none comes twice.
func TestRebalanceLosesNothing(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil, "otp")
	p := b.Producer(c)
	y := &tally{seen: map[string]int{}, more: make(chan struct{}, 1)}
	const total = 2000
	var producing sync.WaitGroup
	producing.Go(func() {
		for i := range total {
			if err := p.Enqueue(broker.Message{
				Topic: lane, Partition: -1, Key: []byte(strconv.Itoa(i)), Value: []byte(strconv.Itoa(i)),
			}, nil); err != nil {
				t.Errorf("Enqueue() = %v", err)
			}
			if i%500 == 499 {
				select {
				case <-y.more:
				case <-t.Context().Done():
				}
			}
		}
	})
	first := start(t, c, y, quick())
	start(t, c, y, quick())
	<-y.more
	start(t, c, y, quick())
	first.halt()
	producing.Wait()
	eventually(t, func() bool { return len(y.counts()) == total && depth(t, c) == 0 })
	for v, n := range y.counts() {
		if n != 1 {
			t.Errorf("record %s came %d times, want once", v, n)
		}
	}
}

func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	b, c, p := one(t)
	y := &tally{seen: map[string]int{}, more: make(chan struct{}, 1)}
	start(t, c, y, quick())
	put(t, p, lane, 0, "a")
	eventually(t, func() bool { return len(y.counts()) == 1 })
	b.Stop()
	b.Start()
	put(t, p, lane, 0, "b")
	eventually(t, func() bool { return len(y.counts()) == 2 && depth(t, c) == 0 })
}

// Half of a long run is completed in the most scattered way there is: the
// metadata fills up, handing out pauses, and goes on when gaps close.
func TestScatteredCompletions(t *testing.T) {
	t.Parallel()
	_, c, p := one(t)
	const total = 6000
	var acks sync.WaitGroup
	for i := range total {
		acks.Add(1)
		if err := p.Enqueue(broker.Message{Topic: lane, Partition: 0, Value: []byte(strconv.Itoa(i))},
			func(broker.Position, error) { acks.Done() }); err != nil {
			t.Fatal(err)
		}
	}
	acks.Wait()
	h := newHands()
	r := start(t, c, h, quick())
	var held []*custody.Delivery
	handed, restarted := 0, false
	for handed < total {
		select {
		case d := <-h.got:
			handed++
			if d.Offset%2 == 1 {
				d.Complete(-1)
			} else {
				held = append(held, d)
			}
		case <-time.After(200 * time.Millisecond): // paused
			if len(held) == 0 {
				continue // the group is still being joined
			}
			if !restarted { // with the metadata full
				restarted = true
				for _, d := range held {
					d.Abandon()
				}
				handed -= len(held)
				held = nil
				r.halt()
				r = start(t, c, h, quick())
				continue
			}
			for _, d := range held {
				d.Complete(-1)
			}
			held = nil
		}
	}
	for _, d := range held {
		d.Complete(-1)
	}
	eventually(t, func() bool { return depth(t, c) == 0 })
	watermark := int64(-1)
	for _, s := range r.Stats() {
		if s.Partition == 0 {
			watermark = s.Watermark
		}
	}
	if watermark != total {
		t.Errorf("the watermark is %d, want %d", watermark, total)
	}
}
