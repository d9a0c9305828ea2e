package rpc

import (
	"context"
	"net"

	"google.golang.org/grpc/test/bufconn"
)

// MemoryListener is a listener inside the process: the same gRPC, without a
// network. Give it to a server as its listener and its DialContext to the clients.
type MemoryListener struct{ l *bufconn.Listener }

// Memory returns a new MemoryListener, ready to use.
func Memory() *MemoryListener { return &MemoryListener{l: bufconn.Listen(256 << 10)} }

// Accept waits for the next connection.
func (m *MemoryListener) Accept() (net.Conn, error) { return m.l.Accept() }

// Close ends the listener; connections that stand are not cut.
func (m *MemoryListener) Close() error { return m.l.Close() }

// Addr returns an address that only names its kind.
func (m *MemoryListener) Addr() net.Addr { return m.l.Addr() }

// DialContext connects to the listener, whatever the address says.
func (m *MemoryListener) DialContext(ctx context.Context, _ string) (net.Conn, error) {
	return m.l.DialContext(ctx)
}
