package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// maxSocketPath is how long a socket's path may be on every unix.
const maxSocketPath = 100

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
func bind(path string, log *slog.Logger) (*listener, error) {
	if c, err := dialSocket(context.Background(), path); err == nil { //nolint:forbidigo // answers at once or not at all
		_ = c.Close()
		return nil, fmt.Errorf("binding broker socket %q: another broker answers there", path)
	}
	l := &listener{path: path, log: log, conns: make(chan net.Conn), done: make(chan struct{})}
	short, dir, err := shortPath(path)
	if err != nil {
		return nil, fmt.Errorf("binding broker socket: %w", err)
	}
	l.dir = dir
	tmp := short + "." + strconv.Itoa(os.Getpid())
	if err := l.bind(tmp, short); err != nil {
		return nil, errors.Join(fmt.Errorf("binding broker socket %q: %w", path, err), l.closeDir())
	}
	return l, nil
}

func (l *listener) bind(tmp, final string) error {
	var lc net.ListenConfig
	s, err := lc.Listen(context.Background(), "unix", tmp) //nolint:forbidigo // local, does not wait
	if err != nil {
		return err
	}
	s.(*net.UnixListener).SetUnlinkOnClose(false) //nolint:forcetypeassert // "unix"
	if err := errors.Join(os.Chmod(tmp, 0o600), os.Rename(tmp, final)); err != nil {
		return errors.Join(err, s.Close(), os.Remove(tmp))
	}
	l.socket = s
	return nil
}

// shortPath returns a name for path that fits into a socket address: path
// itself, or one by way of its open directory.
func shortPath(path string) (string, *os.File, error) {
	if len(path) <= maxSocketPath {
		return path, nil, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), dir, nil
}

// dialSocket connects to a broker's socket, however long its path.
func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	short, dir, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	if dir != nil {
		defer dir.Close() //nolint:errcheck // only read
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", short)
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
func (l *listener) Addr() net.Addr { return embeddedAddr{} }

type embeddedAddr struct{}

func (embeddedAddr) Network() string { return "tcp" }
func (embeddedAddr) String() string  { return embeddedHost }

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
