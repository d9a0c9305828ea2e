package session

import (
	"context"
	"net"
	"sync"
	"time"
)

// wire holds the deadlines of a connection, which two may set: the dialogue,
// step by step, and whoever cuts it. A cut is final.
type wire struct {
	conn net.Conn
	mu   sync.Mutex
	cut  bool
}

// until sets the deadline of the next step; after a cut it has passed already.
func (w *wire) until(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		t = time.Unix(1, 0)
	}
	return w.conn.SetDeadline(t)
}

// watch cuts the dialogue when ctx ends, until the function returned is
// called.
func (w *wire) watch(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.cut = true
		_ = w.conn.SetDeadline(time.Unix(1, 0))
	})
	return func() { stop() }
}

func remoteIP(conn net.Conn) string {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return ""
}

// private says whether nobody can listen in on conn.
func private(conn net.Conn) bool {
	switch addr := conn.RemoteAddr().(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	}
	return false
}
