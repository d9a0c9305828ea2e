package apache

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
)

// node is one JVM of the cluster, over all its lives.
type node struct {
	id         int
	properties string
	addr       string   // of clients and the other nodes
	controller string   // of the quorum
	detours    []string // advertised, and behind are their listeners
	behind     []string
	out        output

	mu    sync.Mutex
	cmd   *exec.Cmd
	guard *guard
	done  chan struct{} // closed when the process has ended
}

// output keeps what a process prints; safe for concurrent use.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps p.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String is all that was printed.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) attach(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = o, o }

// java is the command that runs a class of Kafka. The compiler of the first
// tier alone and the serial collector start fast and leave the processors to
// what is tested.
func (c *Cluster) java(class string, args ...string) *exec.Cmd {
	heap := strconv.Itoa(c.options.Heap)
	all := append([]string{
		"-Xmx" + heap + "m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dlog4j2.level=WARN", "-Djava.awt.headless=true", "-cp", c.jars, class,
	}, args...)
	return exec.CommandContext(context.Background(), "java", all...) //nolint:forbidigo,gosec // ended by the node, not by a call; no shell reads it
}

// run runs a command to its end, or to ctx's.
func run(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return errors.Join(err, ctx.Err())
	}
	return nil
}

func (n *node) start(cmd *exec.Cmd) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		return fmt.Errorf("node %d runs already", n.id)
	}
	n.out.attach(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting java: %w", err)
	}
	g, err := newGuard(cmd.Process.Pid)
	if err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(err, cmd.Wait())
	}
	done := make(chan struct{})
	n.cmd, n.guard, n.done = cmd, g, done
	go func() { // ends with the process; whoever ends the node waits for done
		_ = cmd.Wait()
		close(done)
	}()
	return nil
}

// life is the running process; nil while there is none.
func (n *node) life() (*exec.Cmd, chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd, n.done
}

func (n *node) kill() {
	cmd, done := n.life()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	<-done
	n.forget()
}

func (n *node) terminate(ctx context.Context) error {
	cmd, done := n.life()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-done:
		n.forget()
		return nil
	case <-ctx.Done():
		n.kill()
		return fmt.Errorf("node %d did not stop: %w", n.id, ctx.Err())
	}
}

func (n *node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.guard.release()
	n.cmd, n.guard, n.done = nil, nil, nil
}

// guard ends a process when this one ends first, in whatever way: it is a
// shell that waits for the end of its input.
type guard struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

func newGuard(pid int) (*guard, error) {
	cmd := exec.CommandContext(context.Background(), "sh", "-c", `read -r _; [ "$_" ] || kill -9 "$0"`, strconv.Itoa(pid)) //nolint:forbidigo,gosec // outlives every call; the id is an argument
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &guard{cmd: cmd, input: input}, cmd.Start()
}

// release lets the guard go when its process is gone.
func (g *guard) release() {
	_ = g.cmd.Process.Kill()
	_ = g.input.Close()
	_ = g.cmd.Wait()
}

// ports hands out loopback ports, each once, below those that systems hand out
// by themselves.
type ports struct {
	mu   sync.Mutex
	next int
}

const (
	leastPort = 20_000
	mostPort  = 30_000
)

var unused = ports{next: leastPort + rand.IntN(mostPort-leastPort)}

// free returns an address that nobody listened on a moment ago.
func (p *ports) free() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range mostPort - leastPort {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.next))
		if p.next++; p.next == mostPort {
			p.next = leastPort
		}
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr) //nolint:forbidigo // does not block
		if err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

// newID makes the id of a cluster. None begins with a dash, as Kafka's own do
// not: its tools would take it for an option.
func newID() string {
	id := make([]byte, 16)
	for {
		_, _ = crand.Read(id) // never fails
		if text := base64.RawURLEncoding.EncodeToString(id); text[0] != '-' {
			return text
		}
	}
}
