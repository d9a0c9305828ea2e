package custody_test

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/custody/mark"
	"kurir.dev/kit/telemetry"
)

// eyes see what a consumer logs and counts.
type eyes struct {
	*telemetry.Telemetry
	reader *sdkmetric.ManualReader

	mu  sync.Mutex
	log strings.Builder
}

func newEyes() *eyes {
	e := &eyes{Telemetry: telemetry.Discard(), reader: sdkmetric.NewManualReader()}
	e.Log = slog.New(slog.NewTextHandler(e, nil))
	e.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(e.reader))
	return e
}

func (e *eyes) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.Write(b)
}

func (e *eyes) logged(text string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Contains(e.log.String(), text)
}

// trouble is how often trouble of a kind was counted.
func (e *eyes) trouble(t *testing.T, kind string) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := e.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if m.Name != "kurir_custody_trouble" || !ok {
				continue
			}
			for _, p := range sum.DataPoints {
				if v, _ := p.Attributes.Value("kind"); v.AsString() == kind {
					return p.Value
				}
			}
		}
	}
	t.Fatalf("trouble of kind %q is not counted, not even as none", kind)
	return 0
}

// cut deletes the records of a partition below an offset.
func cut(t *testing.T, b *brokertest.Broker, topic string, offset int64) {
	t.Helper()
	ln, target := b.Detour()
	_ = ln.Close()
	conn, err := net.Dial(target.Network(), target.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q := kmsg.NewPtrDeleteRecordsRequest()
	q.TimeoutMillis = 5000
	q.Topics = []kmsg.DeleteRecordsRequestTopic{{
		Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: offset}},
	}}
	q.SetVersion(1)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, q, 1)
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	res, ok := q.ResponseKind().(*kmsg.DeleteRecordsResponse)
	if !ok {
		t.Fatal("another response")
	}
	if err := res.ReadFrom(answer[4:]); err != nil || res.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("DeleteRecords(%s, %d) = %+v, %v", topic, offset, res, err)
	}
}

// A fetch that is never answered is noticed, told, and asked again.
func TestStalledFetchIsAskedAgain(t *testing.T) {
	t.Parallel()
	b, _, p := one(t)
	w, far := newWire(t, b)
	e, h := newEyes(), newHands()
	start := watched(t, far, e.Telemetry, h, quick())
	put(t, p, lane, 0, "a")
	h.next(t).Complete(-1)
	w.swallow(2)
	eventually(t, func() bool { return w.left() == 0 })
	put(t, p, lane, 0, "b")
	if d := h.next(t); string(d.Value) != "b" {
		t.Errorf("%s comes after the stall, want b", d.Value)
	} else {
		d.Complete(-1)
	}
	if n := e.trouble(t, "stalled"); n < 1 || !e.logged("reader stands still") {
		t.Errorf("a stall was counted %d times and logged: %v, want both", n, e.logged("reader stands still"))
	}
	start.halt()
}

// Records that were deleted before they were read are told of, and the rest
// comes.
func TestRecordsDeletedUnread(t *testing.T) {
	t.Parallel()
	b, c, p := one(t)
	put(t, p, lane, 0, "a", "b", "c", "d", "e")
	e, h := newEyes(), newHands()
	cfg := quick()
	first := start(t, c, h, cfg)
	got := h.take(t, 5)
	got["a"].Complete(-1)
	got["d"].Complete(-1)
	for _, v := range []string{"b", "c", "e"} {
		got[v].Abandon()
	}
	first.halt()
	cut(t, b, lane, 2) // b is gone

	h = newHands()
	r := watched(t, c, e.Telemetry, h, cfg)
	got = h.take(t, 2)
	if want := []string{"c", "e"}; !slices.Equal(keys(got), want) {
		t.Errorf("%v come, want %v", keys(got), want)
	}
	if n := e.trouble(t, "broken"); n != 1 || !e.logged("level=ERROR") {
		t.Errorf("deleted records were counted %d times and logged as an error: %v, want once and true", n, e.logged("level=ERROR"))
	}
	got["c"].Complete(-1)
	got["e"].Complete(-1)
	eventually(t, func() bool { return r.Stats()[0].Watermark == 5 })
}

// A reader that is overtaken by a deletion goes on where there is something.
func TestRecordsDeletedBeforeTheReader(t *testing.T) {
	t.Parallel()
	b, c, p := one(t)
	put(t, p, lane, 0, "a")
	e, h := newEyes(), newHands()
	cfg := quick()
	cfg.MaxRecords = 1
	watched(t, c, e.Telemetry, h, cfg)
	a := h.next(t)
	put(t, p, lane, 0, "b", "c", "d")
	cut(t, b, lane, 3)
	a.Abandon() // and cannot come again
	for {
		d := h.next(t)
		d.Complete(-1)
		if string(d.Value) == "d" {
			break
		}
	}
	eventually(t, func() bool { return e.trouble(t, "broken") > 0 })
}

// A commit beyond the log's end is a log that was lost: the log wins, and what
// it holds is settled by the journal.
func TestCommitBeyondTheLog(t *testing.T) {
	t.Parallel()
	_, c, p := one(t)
	put(t, p, lane, 0, "a", "b")
	put(t, p, outcome, 0, "a delivered", "b deferred")
	brokertest.Commit(t, c, "dispatcher", lane, 0, 100, "k12;0;")
	e, h := newEyes(), newHands()
	watched(t, c, e.Telemetry, h, quick())
	got := h.take(t, 2)
	if want := []string{"a delivered", "b deferred"}; !slices.Equal(h.journal(0), want) {
		t.Errorf("journal = %v, want all of it, %v", h.journal(0), want)
	}
	if n := e.trouble(t, "broken"); n != 1 || !e.logged("level=ERROR") {
		t.Errorf("a lost log was counted %d times and logged as an error: %v, want once and true", n, e.logged("level=ERROR"))
	}
	for _, d := range got {
		d.Complete(-1)
	}
	eventually(t, func() bool { return depth(t, c) == 0 })
}

// A group whose commits the broker has forgotten begins at the first record
// there is, knowing what the whole journal tells.
func TestForgottenCommits(t *testing.T) {
	t.Parallel()
	b, c, p := one(t)
	put(t, p, lane, 0, "a", "b", "c")
	put(t, p, outcome, 0, "a delivered", "b delivered", "c delivered")
	cut(t, b, lane, 1)
	cut(t, b, outcome, 1)
	e, h := newEyes(), newHands()
	watched(t, c, e.Telemetry, h, quick())
	got := h.take(t, 2)
	if want := []string{"b", "c"}; !slices.Equal(keys(got), want) {
		t.Errorf("%v come, want %v", keys(got), want)
	}
	if want := []string{"b delivered", "c delivered"}; !slices.Equal(h.journal(0), want) {
		t.Errorf("journal = %v, want %v", h.journal(0), want)
	}
	if n := e.trouble(t, "broken"); n != 0 {
		t.Errorf("a new group was counted as broken %d times", n)
	}
	for _, d := range got {
		d.Complete(-1)
	}
}

// What is tried is promised in a commit first; whoever comes after a clean end
// hears only of what was tried and not done.
func TestTryIsPromised(t *testing.T) {
	t.Parallel()
	b, c, p := one(t)
	values := make([]string, 2*mark.Spare)
	for i := range values {
		values[i] = strconv.Itoa(i)
	}
	put(t, p, lane, 0, values...)
	h := newHands()
	cfg := quick()
	cfg.Drain, cfg.MaxRecords = 50*time.Millisecond, 2*len(values)
	first := start(t, c, h, cfg)
	got := h.take(t, len(values))
	const tried = mark.Spare + 50
	for i, v := range values[:tried] {
		d := got[v]
		if d.Again() {
			t.Fatalf("record %d was tried before, says the first owner", i)
		}
		if err := d.Try(t.Context()); err != nil {
			t.Fatalf("Try(%d) = %v", i, err)
		}
		if i%64 == 0 || i == tried-1 {
			offset, text := brokertest.Committed(t, c, cfg.Group, lane, 0)
			if m, err := mark.Parse(offset, text); err != nil || m.Tried <= int64(i) {
				t.Fatalf("record %d may be tried, the commit says %+v, %v", i, m, err)
			}
		}
	}
	for i, v := range values {
		if i >= tried {
			got[v].Abandon()
		} else if i != 3 {
			got[v].Complete(-1)
		}
	}
	first.halt()
	h = newHands()
	start(t, b.Client(nil), h, quick())
	got = h.take(t, len(values)-tried+1)
	for v, d := range got {
		if d.Again() != (v == "3") {
			t.Errorf("record %s: Again() = %v, want it of the third alone", v, d.Again())
		}
		d.Complete(-1)
	}
}

// pressed is a handler that hears when its partition stands still.
type pressed struct {
	*hands
	told chan bool
}

// Press implements custody.Presser.
func (p pressed) Press(_ int, on bool) { p.told <- on }

// A handler hears at once that a partition waits for what it holds, and that it
// goes on.
func TestPress(t *testing.T) {
	t.Parallel()
	_, c, p := one(t)
	put(t, p, lane, 0, "a", "b", "c")
	h := pressed{newHands(), make(chan bool, 8)}
	cfg := quick()
	cfg.MaxRecords = 2
	start(t, c, h, cfg)
	held := h.take(t, 2)
	if on := <-h.told; !on {
		t.Fatal("Press(false) before Press(true)")
	}
	if n := len(h.told); n > 0 {
		t.Errorf("%d more calls while the partition waits, want none", n)
	}
	held["b"].Complete(-1)
	last := h.next(t)
	if on := <-h.told; on {
		t.Error("Press(true) again, want the end of the first")
	}
	held["a"].Complete(-1)
	last.Complete(-1)
}

// Full metadata pauses handing out and says so.
func TestFullMetadataIsTold(t *testing.T) {
	t.Parallel()
	_, c, p := one(t)
	const total = 4000
	var acks sync.WaitGroup
	for range total {
		acks.Add(1)
		if err := p.Enqueue(broker.Message{Topic: lane, Partition: 0, Value: []byte("x")}, func(broker.Position, error) { acks.Done() }); err != nil {
			t.Fatal(err)
		}
	}
	acks.Wait()
	e, h := newEyes(), newHands()
	r := watched(t, c, e.Telemetry, h, quick())
	var held []*custody.Delivery
	eventually(t, func() bool {
		for {
			select {
			case d := <-h.got:
				held = append(held, d)
				continue
			default:
			}
			return e.trouble(t, "full") > 0
		}
	})
	st := r.Stats()[0]
	if st.Outstanding < 1500 || st.Outstanding >= total || !e.logged("metadata is full") {
		t.Errorf("paused with %d in flight, logged %v, want at most half the metadata's bytes", st.Outstanding, e.logged("metadata is full"))
	}
	for i, d := range held {
		if i%2 == 1 {
			d.Complete(-1)
		}
	}
	eventually(t, func() bool { return r.Stats()[0].Metadata > 3000 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var finishing sync.WaitGroup
	finishing.Go(func() {
		for {
			select {
			case d := <-h.got:
				d.Complete(-1)
			case <-ctx.Done():
				return
			}
		}
	})
	for i, d := range held {
		if i%2 == 0 {
			d.Complete(-1)
		}
	}
	eventually(t, func() bool { return r.Stats()[0].Watermark == total })
	cancel()
	finishing.Wait()
}
