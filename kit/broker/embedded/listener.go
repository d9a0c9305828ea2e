package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"

	"kurir.dev/kit/broker/internal/sock"
)

// socket is the private way in.
type socket struct {
	net.Listener

	path string
	dir  *os.File // of the socket, for long paths; nil for short ones
}

// bind makes the socket, mode 0600 before anybody can see it. A socket left by
// a dead process is replaced, one that answers is an error.
func bind(ctx context.Context, path string) (*socket, error) {
	if c, err := sock.Dial(ctx, path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("binding broker socket %q: another broker answers there", path)
	}
	short, dir, err := sock.Short(path)
	if err != nil {
		return nil, fmt.Errorf("binding broker socket: %w", err)
	}
	s := &socket{path: path, dir: dir}
	if err := s.bind(ctx, short+"."+strconv.Itoa(os.Getpid()), short); err != nil {
		return nil, errors.Join(fmt.Errorf("binding broker socket %q: %w", path, err), s.closeDir())
	}
	return s, nil
}

func (s *socket) bind(ctx context.Context, tmp, final string) error {
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", tmp)
	if err != nil {
		return err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // it bears another name by then
	}
	if err := errors.Join(os.Chmod(tmp, 0o600), os.Rename(tmp, final)); err != nil {
		return errors.Join(err, l.Close(), os.Remove(tmp))
	}
	s.Listener = l
	return nil
}

// remove ends the socket and takes its name away.
func (s *socket) remove() {
	_ = os.Remove(s.path)
	_ = s.Close()
	_ = s.closeDir()
}

func (s *socket) closeDir() error {
	if s.dir == nil {
		return nil
	}
	return s.dir.Close()
}

// listenTCP opens the port for tools on this machine. Whoever can connect can
// read and write everything, so it is on a loopback address or not at all.
func listenTCP(ctx context.Context, addr string) (net.Listener, error) {
	if err := CheckTCP(addr); err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("opening broker port: %w", err)
	}
	return l, nil
}

// CheckTCP says whether an address can be that of [Config.TCP]; if not, it is
// an *[AddrError].
func CheckTCP(addr string) error {
	if addr == "" {
		return nil
	}
	if at, err := netip.ParseAddrPort(addr); err != nil || !at.Addr().IsLoopback() {
		return &AddrError{addr}
	}
	return nil
}

// AddrError says that Config.TCP is not an address the broker may listen on.
type AddrError struct {
	// Addr is what was configured.
	Addr string
}

// Error implements error.
func (e *AddrError) Error() string {
	return fmt.Sprintf("%q is not a loopback address with a port, as 127.0.0.1:9092: "+
		"whoever reaches the embedded broker owns its records", e.Addr)
}
