package custody

import (
	"context"
	"net"
	"sync"

	"github.com/segmentio/kafka-go"
)

// cutter is a dialer whose connections can be cut: kafka-go's readers and
// groups otherwise wait out a long poll before they close.
type cutter struct {
	mu     sync.Mutex
	conns  map[*cutConn]struct{}
	closed bool
}

// dialer returns a copy of d whose connections the cutter knows.
func (c *cutter) dialer(d *kafka.Dialer) *kafka.Dialer {
	dial := d.DialFunc
	tracked := *d
	tracked.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return c.add(conn)
	}
	return &tracked
}

func (c *cutter) add(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	if c.conns == nil {
		c.conns = make(map[*cutConn]struct{})
	}
	cc := &cutConn{Conn: conn, cutter: c}
	c.conns[cc] = struct{}{}
	return cc, nil
}

// cut closes all connections; new ones may be dialled.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cc := range c.conns {
		_ = cc.Conn.Close()
	}
	c.conns = nil
}

// close closes all connections for good.
func (c *cutter) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cut()
}

type cutConn struct {
	net.Conn
	cutter *cutter
}

// Close implements net.Conn.
func (cc *cutConn) Close() error {
	cc.cutter.mu.Lock()
	delete(cc.cutter.conns, cc)
	cc.cutter.mu.Unlock()
	return cc.Conn.Close()
}
