package wire

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// elsewhere is where a test process of its own connects to, in its environment.
const elsewhere = "KURIR_TEST_PEER"

// TestInside: only a client on a unix socket that is of this process is inside.
func TestInside(t *testing.T) {
	t.Parallel()
	var d net.Dialer
	if path := os.Getenv(elsewhere); path != "" { // the process below
		c, err := d.DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(c) // until it has been looked at
		return
	}
	accept := func(network, addr string, connect func(addr string)) bool {
		var lc net.ListenConfig
		l, err := lc.Listen(t.Context(), network, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		connect(l.Addr().String())
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return inside(c)
	}
	dial := func(network string) func(addr string) {
		return func(addr string) {
			c, err := d.DialContext(t.Context(), network, addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	dir := t.TempDir()
	if !accept("unix", filepath.Join(dir, "own"), dial("unix")) {
		t.Error("a client of this process is not inside")
	}
	if accept("tcp", "127.0.0.1:0", dial("tcp")) {
		t.Error("a client by TCP is inside, which nobody can know")
	}
	var other *exec.Cmd
	if accept("unix", filepath.Join(dir, "other"), func(addr string) {
		other = exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^TestInside$")
		other.Env = append(os.Environ(), elsewhere+"="+addr)
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
	}) {
		t.Error("a client of another process is inside")
	}
	if err := other.Wait(); err != nil {
		t.Errorf("the other process: %v", err)
	}
}
