// Package sock is what both ends of the embedded broker's private socket agree
// on: how its address is written, what the broker calls itself, and how to
// reach a socket whose path is longer than an address may be.
package sock

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Prefix begins the address of a broker on a unix socket.
const Prefix = "unix:"

// Host is how the embedded broker names itself in metadata; it is never
// resolved, a socket client dials its socket whatever the name.
const Host = "embedded:9092"

// maxPath is how long a socket's path may be on every unix.
const maxPath = 100

// Short returns a name for path that fits into a socket address: path itself
// and nil, or one by way of its open directory, to be closed after use.
func Short(path string) (string, *os.File, error) {
	if len(path) <= maxPath {
		return path, nil, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), dir, nil
}

// Dial connects to the socket at path, however long that is.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	short, dir, err := Short(path)
	if err != nil {
		return nil, err
	}
	if dir != nil {
		defer dir.Close()
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", short)
}
