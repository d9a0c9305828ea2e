package chaos

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// wire carries connections from one process to another, and can be cut. Safe
// for concurrent use.
type wire struct {
	network, listen string // where it is entered
	to, target      string // network and address it leads to

	mu       sync.Mutex
	act      Act // "" while it is whole
	whole    chan struct{}
	listener net.Listener // nil while refused
	conns    map[net.Conn]struct{}
	closed   bool
	work     sync.WaitGroup
}

// newWire begins to listen. Close it in the end.
func newWire(network, listen, to, target string) (*wire, error) {
	w := &wire{network: network, listen: listen, to: to, target: target, whole: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(w.whole)
	err := w.open()
	return w, err
}

func (w *wire) open() error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), w.network, w.listen) //nolint:forbidigo // lives as long as the wire
	if err != nil {
		return fmt.Errorf("laying a wire to %s: %w", w.target, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener, w.listen = l, l.Addr().String()
	w.work.Go(func() { w.accept(l) })
	return nil
}

// addr is where the wire is entered.
func (w *wire) addr() string { return w.listen }

// cut does to the wire what act says, until heal.
func (w *wire) cut(act Act) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.act = act
	switch act {
	case Silence:
		w.whole = make(chan struct{})
		return
	case Refuse:
		_ = w.listener.Close()
		w.listener = nil
	default:
	}
	w.reset()
}

// heal makes the wire whole again. What stood still goes on.
func (w *wire) heal() error {
	w.mu.Lock()
	was := w.act
	w.act = ""
	if was == Silence {
		close(w.whole)
	}
	w.mu.Unlock()
	if was == Refuse {
		return w.open()
	}
	return nil
}

// close ends the wire and waits for its goroutines.
func (w *wire) close() {
	w.mu.Lock()
	w.closed = true
	if w.listener != nil {
		_ = w.listener.Close()
	}
	if w.act == Silence {
		close(w.whole)
	}
	w.act = ""
	w.reset()
	w.mu.Unlock()
	w.work.Wait()
}

// reset drops every connection; w.mu is held.
func (w *wire) reset() {
	for c := range w.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (w *wire) accept(l net.Listener) {
	for {
		in, err := l.Accept()
		if err != nil {
			return // closed
		}
		w.work.Go(func() { w.carry(in) })
	}
}

// carry is the life of one connection.
func (w *wire) carry(in net.Conn) {
	if !w.enter(in) {
		return
	}
	defer w.leave(in)
	if !w.pass() {
		return
	}
	out, err := (&net.Dialer{}).DialContext(context.Background(), w.to, w.target) //nolint:forbidigo // lives as long as the wire
	if err != nil || !w.enter(out) {
		return // closing the one end tells of it
	}
	defer w.leave(out)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			w.copy(way[1], way[0])
			_, _ = way[0].Close(), way[1].Close()
		})
	}
	both.Wait()
}

// copy moves bytes for as long as the wire is whole or stands still.
func (w *wire) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && w.pass() {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while the wire stands still; false when it is over.
func (w *wire) pass() bool {
	w.mu.Lock()
	whole := w.whole
	w.mu.Unlock()
	<-whole
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.closed
}

// enter counts a connection in, unless the wire is cut or closed.
func (w *wire) enter(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.act == Drop || w.act == Refuse {
		_ = c.Close()
		return false
	}
	w.conns[c] = struct{}{}
	return true
}

func (w *wire) leave(c net.Conn) {
	_ = c.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}
