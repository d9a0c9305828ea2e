package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// parting is how long a client may take to read its last answer.
const parting = time.Second

// Config of a server. APIs and Log are needed.
type Config struct {
	// APIs by their keys. ApiVersions is served by itself.
	APIs map[int16]API
	// Log is told of connections that were cut.
	Log *slog.Logger
}

// Server answers requests, each connection's one after the other. Safe for
// concurrent use.
type Server struct {
	cfg     Config
	apis    table
	stock   stock
	ctx     context.Context //nolint:containedctx // the life of all connections, ended by Close
	cancel  context.CancelFunc
	serving sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// NewServer makes a server; [Server.Close] ends it. ctx goes with what is
// logged, its end ends nothing.
func NewServer(ctx context.Context, cfg Config) *Server {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &Server{cfg: cfg, apis: newTable(cfg.APIs), ctx: ctx, cancel: cancel, conns: make(map[net.Conn]struct{})}
}

// Door is a way in.
type Door struct {
	// Listener is where clients come from; the server closes it.
	Listener net.Listener
	// Host and Port are what clients are told to connect to.
	Host string
	// Port belongs to Host.
	Port int32
	// Conns bounds the connections through this door; more are closed at once.
	Conns int
	// Idle is how long a connection may be silent, and how long a request may
	// take to arrive; zero means for ever.
	Idle time.Duration
}

// Open lets clients in until [Server.Close].
func (s *Server) Open(d Door) {
	s.serving.Go(func() {
		stop := context.AfterFunc(s.ctx, func() { _ = d.Listener.Close() })
		defer stop()
		room := make(chan struct{}, d.Conns)
		for {
			nc, err := d.Listener.Accept()
			if err != nil {
				if errors.Is(err, net.ErrClosed) || !s.pause() {
					return
				}
				continue // no file descriptors left, or the like
			}
			select {
			case room <- struct{}{}:
			default:
				s.cfg.Log.WarnContext(s.ctx, "connection refused, there are too many", slog.Int("connections", d.Conns))
				_ = nc.Close()
				continue
			}
			s.serving.Go(func() {
				defer func() { <-room }()
				s.serve(d, nc)
			})
		}
	})
}

// pause waits a moment and says whether to go on.
func (s *Server) pause() bool {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// Close lets nobody in any more, ends what waits, lets clients read the
// answers under way for a moment and returns when all connections are gone.
func (s *Server) Close() {
	s.cancel()
	s.mu.Lock()
	now := time.Now()
	for nc := range s.conns {
		_ = nc.SetReadDeadline(now)
		_ = nc.SetWriteDeadline(now.Add(parting))
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// track notes a connection, or says that it is too late for it.
func (s *Server) track(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.conns[nc] = struct{}{}
	return true
}

func (s *Server) serve(d Door, nc net.Conn) {
	defer nc.Close()
	if !s.track(nc) {
		return
	}
	defer func() {
		s.mu.Lock()
		delete(s.conns, nc)
		s.mu.Unlock()
	}()
	c := &conn{server: s, door: d, net: nc, read: bufio.NewReader(nc), remote: nc.RemoteAddr().String(), inside: inside(nc)}
	defer c.free()
	// A fault of ours in one request must not end everybody's broker.
	defer func() {
		if fault := recover(); fault != nil {
			s.cfg.Log.ErrorContext(s.ctx, "connection cut, its request broke the broker's code", slog.Any("fault", fault))
		}
	}()
	for {
		err := c.next(s.ctx)
		switch {
		case err == nil:
			continue
		case errors.Is(err, errFrame):
			s.cfg.Log.WarnContext(s.ctx, "connection cut for a bad request", slog.Any("error", err))
		}
		return
	}
}

// conn is one connection.
type conn struct {
	server  *Server
	door    Door
	net     net.Conn
	read    *bufio.Reader
	remote  string
	inside  bool
	in, out []byte
}

// next answers one request.
func (c *conn) next(ctx context.Context) error {
	if c.door.Idle > 0 {
		_ = c.net.SetReadDeadline(time.Now().Add(c.door.Idle))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var head [headBytes]byte
	if _, err := io.ReadFull(c.read, head[:4]); err != nil {
		return err
	}
	if size := binary.BigEndian.Uint32(head[:]); size < headBytes-4 {
		return fmt.Errorf("%w: frame of %d bytes", errFrame, size)
	}
	if _, err := io.ReadFull(c.read, head[4:]); err != nil {
		return err
	}
	api, req, rest, err := c.server.apis.open(head[:])
	if err != nil {
		return err
	}
	if err := c.fill(rest); err != nil {
		return err
	}
	dst := c.out[:0]
	dst = append(dst, 0, 0, 0, 0)  // the length, set when known
	dst = append(dst, head[8:]...) // correlation id
	if req.key == versionsKey && req.Version > api.Max {
		return c.answer(c.server.apis.versions(dst, 0, UnsupportedVersion))
	}
	if err := api.body(&req, c.in); err != nil {
		return err
	}
	req.Remote, req.Inside = c.remote, c.inside
	req.Host, req.Port, req.Grow = c.door.Host, c.door.Port, c.server.stock.grow
	if api.Waits {
		dst, err = c.watched(ctx, func(ctx context.Context) ([]byte, error) { return api.Handle(ctx, &req, dst) })
	} else {
		dst, err = api.Handle(ctx, &req, dst)
	}
	c.in = c.server.stock.shrink(c.in)
	if dst == nil || err != nil {
		return err
	}
	return c.answer(dst)
}

// fill reads the rest of a frame, making room as it comes.
func (c *conn) fill(n int) error {
	c.in = c.in[:0]
	for len(c.in) < n {
		step := min(n-len(c.in), max(len(c.in), keep))
		c.in = c.server.stock.grow(c.in, step)
		from := len(c.in)
		c.in = c.in[:from+step]
		if _, err := io.ReadFull(c.read, c.in[from:]); err != nil {
			return err
		}
	}
	return nil
}

// answer sends a response.
func (c *conn) answer(b []byte) error {
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if c.door.Idle > 0 {
		_ = c.net.SetWriteDeadline(time.Now().Add(c.door.Idle))
	}
	_, err := c.net.Write(b)
	c.out = c.server.stock.shrink(b)
	return err
}

// watched runs do with a context that ends when the client goes away.
func (c *conn) watched(ctx context.Context, do func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = c.net.SetReadDeadline(time.Time{})
	var watch sync.WaitGroup
	watch.Go(func() {
		if _, err := c.read.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel()
		}
	})
	dst, err := do(ctx)
	_ = c.net.SetReadDeadline(time.Now()) // ends the watch
	watch.Wait()
	_ = c.net.SetReadDeadline(time.Time{})
	return dst, err
}

func (c *conn) free() {
	c.server.stock.shrink(c.in)
	c.server.stock.shrink(c.out)
}

// keep is how large a buffer a connection keeps between requests.
const keep = 64 << 10

// stock lends large buffers to requests, so that idle connections hold none.
type stock struct{ pool sync.Pool }

// grow makes room for n more bytes in b, which is not used any more after.
func (s *stock) grow(b []byte, n int) []byte {
	need := len(b) + n
	if need <= cap(b) {
		return b
	}
	if need <= keep {
		return append(make([]byte, 0, max(1<<10, 2*need)), b...)
	}
	if p, ok := s.pool.Get().(*[]byte); ok && cap(*p) >= need {
		grown := (*p)[:len(b)]
		copy(grown, b)
		s.shrink(b)
		return grown
	}
	grown := append(make([]byte, 0, max(need+need/4, 2*keep)), b...)
	s.shrink(b)
	return grown
}

// shrink takes back a large buffer and returns what the connection keeps.
func (s *stock) shrink(b []byte) []byte {
	if cap(b) <= 2*keep {
		return b[:0]
	}
	s.pool.Put(&b)
	return nil
}
