package chaos

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/broker/brokertest/apache"
)

// Broker is a broker that can be struck. It is used by one goroutine, and a
// fault of its own fails the test.
type Broker interface {
	// Addrs are the addresses that lead straight to it.
	Addrs() []string
	// Detour is the network and the address to reach it by through a wire,
	// Through the address as configured of a wire entered at addr.
	Detour() (network, addr string)
	Through(addr string) string
	// Start starts it and need not wait until it is ready.
	Start()
	// Kill ends it as kill -9 does, Stop in good order.
	Kill()
	Stop()
	// Pause makes it stand still until Resume.
	Pause()
	Resume()
}

// newBroker starts the broker that the flag -broker names.
func newBroker(t *testing.T, data string) Broker {
	t.Helper()
	if brokertest.Apache() {
		return &foreign{t, brokertest.StartApache(t, apache.Options{})}
	}
	b := &own{t: t, data: data, ops: harness.FreeAddress(t)}
	b.Start()
	return b
}

// own is the embedded broker as a process.
type own struct {
	t    *testing.T
	data string
	ops  string
	proc *harness.Process
}

func (b *own) socket() string           { return filepath.Join(b.data, "kafka", "kafka.sock") }
func (b *own) Addrs() []string          { return []string{b.Through(b.socket())} }
func (b *own) Detour() (string, string) { return "unix", b.socket() }
func (*own) Through(addr string) string { return "unix:" + addr }
func (b *own) Kill()                    { b.proc.Kill() }
func (b *own) Pause()                   { b.signal(syscall.SIGSTOP) }
func (b *own) Resume()                  { b.signal(syscall.SIGCONT) }
func (b *own) Start() {
	b.proc = harness.Spawn(b.t, "kurir", []string{"broker", "--data", b.data, "--ops", b.ops})
}

func (b *own) Stop() {
	b.t.Helper()
	b.proc.Terminate(b.t)
	if status := b.proc.Status(b.t); status != 0 {
		b.t.Errorf("the broker stopped with status %d:\n%s", status, b.proc.Stderr())
	}
}

func (b *own) signal(s syscall.Signal) {
	if err := b.proc.Signal(s); err != nil {
		b.t.Errorf("the broker does not run: %v", err)
	}
}

// foreign is a node of Apache Kafka.
type foreign struct {
	t *testing.T
	c *apache.Cluster
}

func (b *foreign) Addrs() []string          { return b.c.Addrs() }
func (b *foreign) Detour() (string, string) { return "tcp", b.c.Addrs()[0] }
func (*foreign) Through(addr string) string { return addr }
func (b *foreign) Kill()                    { b.c.Kill(1) }
func (b *foreign) Pause()                   { b.check("pausing", b.c.Pause(1)) }
func (b *foreign) Resume()                  { b.check("resuming", b.c.Resume(1)) }

func (b *foreign) Start() {
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	b.check("starting", b.c.Begin(ctx, 1))
}

func (b *foreign) Stop() {
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	b.check("stopping", b.c.Stop(ctx, 1))
}

func (b *foreign) check(doing string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Errorf("%s the broker: %v", doing, err)
	}
}
