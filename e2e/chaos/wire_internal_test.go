package chaos

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo answers every line with itself, until the end of the test.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	return l.Addr().String()
}

// say sends a line and reads it back, for as long as is given.
func say(conn net.Conn, line string, within time.Duration) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestWire(t *testing.T) {
	t.Parallel()
	w, err := newWire("tcp", "127.0.0.1:0", "tcp", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	whole := func(conn net.Conn) {
		t.Helper()
		if got, err := say(conn, "hello", 10*time.Second); got != "hello\n" {
			t.Fatalf("a whole wire answers %q, %v", got, err)
		}
	}
	conn := dial(t, w.addr())
	whole(conn)

	w.cut(Silence)
	if got, err := say(conn, "anyone", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent wire answers %q, %v, want nothing", got, err)
	}
	if err := w.heal(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if got, err := bufio.NewReader(conn).ReadString('\n'); got != "anyone\n" {
		t.Errorf("what was said into the silence came back as %q, %v", got, err)
	}

	w.cut(Drop)
	if got, err := say(conn, "hello", 10*time.Second); err == nil {
		t.Errorf("a connection of a dropped wire answers %q", got)
	}
	if got, err := say(dial(t, w.addr()), "hello", 10*time.Second); err == nil {
		t.Errorf("a new connection of a dropped wire answers %q", got)
	}
	if err := w.heal(); err != nil {
		t.Fatal(err)
	}
	conn = dial(t, w.addr())
	whole(conn)

	w.cut(Refuse)
	if refused, err := net.Dial("tcp", w.addr()); err == nil {
		_ = refused.Close()
		t.Error("a refusing wire took a connection")
	}
	if err := w.heal(); err != nil {
		t.Fatal(err)
	}
	whole(dial(t, w.addr()))
}
