package wire_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/wire"
)

const produceBytes = 64 << 20

// apis answer with what they got.
func apis() map[int16]wire.API {
	return map[int16]wire.API{
		int16(kmsg.Produce): {
			Min: wire.ProduceMin, Max: wire.ProduceMax, MaxBytes: produceBytes,
			Handle: func(_ context.Context, r *wire.Request, dst []byte) ([]byte, error) {
				var p wire.Produce
				if err := p.Parse(r.Body); err != nil {
					return nil, err
				}
				if p.Acks == 0 {
					return nil, nil
				}
				return p.AppendTo(dst, r.Version), nil
			},
		},
		int16(kmsg.FindCoordinator): wire.Typed(0, 4,
			func(_ context.Context, r *wire.Request, q *kmsg.FindCoordinatorRequest) *kmsg.FindCoordinatorResponse {
				res := kmsg.NewPtrFindCoordinatorResponse()
				res.Host, res.Port, res.ErrorMessage = r.Host, r.Port, new(r.ClientID+" "+q.CoordinatorKey)
				return res
			}),
		int16(kmsg.CreateTopics): wire.Typed(0, 6,
			func(context.Context, *wire.Request, *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
				return kmsg.NewPtrCreateTopicsResponse()
			}),
		int16(kmsg.JoinGroup): wire.Typed(0, 9,
			func(ctx context.Context, _ *wire.Request, _ *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
				<-ctx.Done() // until the client goes away
				return kmsg.NewPtrJoinGroupResponse()
			}).Waiting(),
		int16(kmsg.Heartbeat): wire.Typed(0, 4,
			func(context.Context, *wire.Request, *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
				panic("fault of ours")
			}),
	}
}

// serve starts a server and returns what connects to it.
func serve(tb testing.TB) (dial func() net.Conn) {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := wire.NewServer(tb.Context(), wire.Config{APIs: apis(), Log: slog.New(slog.DiscardHandler)})
	tb.Cleanup(s.Close)
	s.Open(wire.Door{Listener: l, Host: "here", Port: 7, Conns: 8})
	return func() net.Conn {
		c, err := new(net.Dialer).DialContext(tb.Context(), "tcp", l.Addr().String())
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = c.Close() })
		return c
	}
}

func frame(req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("me")).AppendRequest(nil, req, 42)
}

// ask sends a request and reads the response into res.
func ask(tb testing.TB, c net.Conn, req []byte, res kmsg.Response, version int16) {
	tb.Helper()
	if _, err := c.Write(req); err != nil {
		tb.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		tb.Fatalf("no answer: %v", err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		tb.Fatal(err)
	}
	if id := binary.BigEndian.Uint32(body); id != 42 {
		tb.Errorf("answer is to request %d, want 42", id)
	}
	body = body[4:]
	if res.SetVersion(version); res.IsFlexible() && res.Key() != int16(kmsg.ApiVersions) {
		body = body[1:]
	}
	if err := res.ReadFrom(body); err != nil {
		tb.Errorf("answer cannot be read: %v", err)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	dial := serve(t)
	for _, version := range []int16{0, 1, 2, 3, 9} {
		res := kmsg.NewPtrApiVersionsResponse()
		read, code := version, int16(0)
		if version > 3 { // KIP-511: answered in the oldest version
			read, code = 0, wire.UnsupportedVersion
		}
		req := kmsg.NewPtrApiVersionsRequest()
		raw := frame(req, min(version, 3))
		binary.BigEndian.PutUint16(raw[6:], uint16(version))
		ask(t, dial(), raw, res, read)
		if res.ErrorCode != code || len(res.ApiKeys) != 6 {
			t.Errorf("ApiVersions v%d = code %d, %d keys, want %d, 6", version, res.ErrorCode, len(res.ApiKeys), code)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	c := serve(t)()
	for version := range int16(4) { // the last is flexible
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKey = "g"
		res := kmsg.NewPtrFindCoordinatorResponse()
		ask(t, c, frame(req, version), res, version)
		if res.Host != "here" || res.Port != 7 || version > 0 && *res.ErrorMessage != "me g" {
			t.Errorf("FindCoordinator v%d = %+v", version, res)
		}
	}
}

func TestProduce(t *testing.T) {
	t.Parallel()
	c := serve(t)()
	for version := int16(wire.ProduceMin); version <= wire.ProduceMax; version++ {
		req := kmsg.NewPtrProduceRequest()
		req.Acks = -1
		want := kmsg.NewPtrProduceResponse()
		want.Version = version
		for _, name := range []string{"a", "b"} {
			topic := kmsg.NewProduceRequestTopic()
			answer := kmsg.NewProduceResponseTopic()
			topic.Topic, answer.Topic = name, name
			for p := range int32(3) {
				part := kmsg.NewProduceRequestTopicPartition()
				part.Partition, part.Records = p, bytes.Repeat([]byte{1}, 100_000) // beyond what a connection keeps
				topic.Partitions = append(topic.Partitions, part)
				a := kmsg.NewProduceResponseTopicPartition()
				a.Partition, a.BaseOffset = p, -1
				answer.Partitions = append(answer.Partitions, a)
			}
			req.Topics = append(req.Topics, topic)
			want.Topics = append(want.Topics, answer)
		}
		got := kmsg.NewPtrProduceResponse()
		ask(t, c, frame(req, version), got, version)
		if diff := cmp.Diff(want.AppendTo(nil), got.AppendTo(nil)); diff != "" {
			t.Errorf("Produce v%d (-want +got):\n%s", version, diff)
		}
		req.Acks = 0 // no answer: the next is to the next request
		if _, err := c.Write(frame(req, version)); err != nil {
			t.Fatal(err)
		}
	}
}

// hostile are frames that end their connection.
func hostile() map[string][]byte {
	find := frame(kmsg.NewPtrFindCoordinatorRequest(), 4)
	clip := func(n int) []byte { // whole as a frame, cut as a request
		b := bytes.Clone(find[:len(find)-n])
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
		return b
	}
	version := bytes.Clone(find)
	version[7] = 99
	many := frame(kmsg.NewPtrCreateTopicsRequest(), 0)
	binary.BigEndian.PutUint32(many[len(many)-8:], 1<<30) // topics
	return map[string][]byte{
		"unknown key":        {0, 0, 0, 10, 0x7f, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0},
		"negative key":       {0, 0, 0, 10, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0, 0},
		"huge":               {0xff, 0xff, 0xff, 0xff, 0, 18, 0, 0, 0, 0, 0, 1, 0, 0},
		"tiny":               {0, 0, 0, 1, 0, 18, 0, 0},
		"text":               []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"unknown version":    version,
		"long client id":     {0, 0, 0, 10, 0, 10, 0, 0, 0, 0, 0, 1, 0x7f, 0xff},
		"no client id":       {0, 0, 0, 8, 0, 10, 0, 0, 0, 0, 0, 1},
		"cut":                clip(1),
		"cut in tags":        clip(3),
		"array of a billion": many,
		"produce cut":        {0, 0, 0, 16, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 1, 0, 0},
		"our own fault":      frame(kmsg.NewPtrHeartbeatRequest(), 0),
	}
}

func TestHostile(t *testing.T) {
	t.Parallel()
	dial := serve(t)
	for name, b := range hostile() {
		c := dial()
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: connection answers, want it cut", name)
		}
	}
	ask(t, dial(), frame(kmsg.NewPtrFindCoordinatorRequest(), 0), kmsg.NewPtrFindCoordinatorResponse(), 0)
}

// Memory follows what arrived, not what was announced.
func TestAnnounced(t *testing.T) { //nolint:paralleltest // it measures the process
	dial := serve(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 2 {
		head := []byte{0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1}
		binary.BigEndian.PutUint32(head, produceBytes)
		c := dial()
		if _, err := c.Write(append(head, make([]byte, 100)...)); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("half a frame: Read() = %v, want EOF", err)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > produceBytes/8 {
		t.Errorf("2 frames announced with %d bytes each and not sent took %d bytes", produceBytes, took)
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	dial := serve(t)
	versions := frame(kmsg.NewPtrApiVersionsRequest(), 0)
	for range 8 {
		ask(t, dial(), versions, kmsg.NewPtrApiVersionsResponse(), 0)
	}
	if n, err := dial().Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("ninth connection stays, want it closed")
	}
}

// A client that goes away ends its wait; so does the server's end, which the
// test's cleanup would hang on.
func TestWaiting(t *testing.T) {
	t.Parallel()
	dial := serve(t)
	for range 20 { // more than there is room for at once
		c := dial()
		if _, err := c.Write(frame(kmsg.NewPtrJoinGroupRequest(), 2)); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("waiting client that leaves: %v", err)
		}
	}
	stays := dial()
	if _, err := stays.Write(frame(kmsg.NewPtrJoinGroupRequest(), 2)); err != nil {
		t.Fatal(err)
	}
}

func FuzzServe(f *testing.F) {
	for _, b := range hostile() {
		f.Add(b)
	}
	for _, req := range []kmsg.Request{
		kmsg.NewPtrProduceRequest(), kmsg.NewPtrCreateTopicsRequest(), kmsg.NewPtrFindCoordinatorRequest(), kmsg.NewPtrApiVersionsRequest(),
	} {
		f.Add(frame(req, 3))
	}
	table := apis()
	delete(table, int16(kmsg.Heartbeat)) // breaks by intent
	s := wire.NewServer(f.Context(), wire.Config{APIs: table, Log: slog.New(alarm{slog.DiscardHandler, f})})
	f.Cleanup(s.Close)
	in := make(pipes)
	s.Open(wire.Door{Listener: in, Conns: 64})
	f.Fuzz(func(_ *testing.T, b []byte) {
		here, there := net.Pipe()
		in <- there
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, here)
		}()
		_, _ = here.Write(b) // fails when the server has seen enough
		_ = here.Close()
		<-drained
	})
}

// alarm fails a test when something is logged as our own fault.
type alarm struct {
	slog.Handler

	tb testing.TB
}

func (alarm) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

func (a alarm) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(at slog.Attr) bool {
		a.tb.Errorf("%s: %v", r.Message, at)
		return true
	})
	return nil
}

// pipes is a listener of connections in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (pipes) Addr() net.Addr { return &net.UnixAddr{} }
