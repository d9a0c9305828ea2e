package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"kurir.dev/kit/broker/internal/sock"
)

// listener lets clients in by the private socket, once it is open, and the
// broker's own client by memory, always. There is no TCP port: whoever can
// connect to kfake can crash it.
type listener struct {
	path   string
	socket net.Listener
	dir    *os.File // of the socket, for long paths; nil for short ones
	log    *slog.Logger
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once
	gate   sync.WaitGroup
}

// bind makes the socket, mode 0600 before anybody can see it. A socket left by
// a dead process is replaced, one that answers is an error.
func bind(ctx context.Context, path string, log *slog.Logger) (*listener, error) {
	if c, err := sock.Dial(ctx, path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("binding broker socket %q: another broker answers there", path)
	}
	l := &listener{path: path, log: log, conns: make(chan net.Conn), done: make(chan struct{})}
	short, dir, err := sock.Short(path)
	if err != nil {
		return nil, fmt.Errorf("binding broker socket: %w", err)
	}
	l.dir = dir
	tmp := short + "." + strconv.Itoa(os.Getpid())
	if err := l.bind(ctx, tmp, short); err != nil {
		return nil, errors.Join(fmt.Errorf("binding broker socket %q: %w", path, err), l.closeDir())
	}
	return l, nil
}

func (l *listener) bind(ctx context.Context, tmp, final string) error {
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var lc net.ListenConfig
	s, err := lc.Listen(ctx, "unix", tmp)
	if err != nil {
		return err
	}
	if u, ok := s.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // it bears another name by then
	}
	if err := errors.Join(os.Chmod(tmp, 0o600), os.Rename(tmp, final)); err != nil {
		return errors.Join(err, s.Close(), os.Remove(tmp))
	}
	l.socket = s
	return nil
}

// listenFn is what kfake listens by, whatever address it asks for.
func (l *listener) listenFn(_, _ string) (net.Listener, error) { return l, nil }

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return &frames{Conn: c, log: l.log}, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener; kfake calls it when it shuts down.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener: what kfake tells clients to connect to.
func (l *listener) Addr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "tcp" }
func (addr) String() string  { return sock.Host }

// pipe connects in memory.
func (l *listener) pipe(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open lets clients in.
func (l *listener) open() { l.gate.Go(l.admit) }

func (l *listener) admit() {
	for {
		c, err := l.socket.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no file descriptors left, or the like
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-l.done:
				return
			}
		}
		select {
		case l.conns <- c:
		case <-l.done:
			_ = c.Close()
			return
		}
	}
}

// shut ends everything and removes the socket.
func (l *listener) shut() {
	_ = l.Close()
	_ = os.Remove(l.path)
	_ = l.socket.Close()
	l.gate.Wait()
	_ = l.closeDir()
}

func (l *listener) closeDir() error {
	if l.dir == nil {
		return nil
	}
	return l.dir.Close()
}
