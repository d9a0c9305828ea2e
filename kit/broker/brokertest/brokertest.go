// Package brokertest gives tests a real broker of their own: the embedded one,
// over its socket, in the test's own directory, or with the flag
// -broker=apache one of Apache Kafka.
package brokertest

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest/apache"
	"kurir.dev/kit/broker/embedded"
	"kurir.dev/kit/telemetry"
)

// kind is the broker that tests run on. The test list is the same for both
// but for what the embedded one alone has; see `make test-kafka`.
var kind = flag.String("broker", "embedded", "the broker that tests run on: embedded or apache")

// Apache says whether tests run on Apache Kafka.
func Apache() bool { return *kind == "apache" }

// Broker is a broker that lives as long as its test.
type Broker struct {
	tb  testing.TB
	cfg embedded.Config

	mu       sync.Mutex
	embedded *embedded.Broker
	apache   *apache.Cluster
	taken    int // detours
}

// detours is how many [Broker.Detour] there are on Apache Kafka.
const detours = 2

// New starts a broker in a temporary directory. It does not sync to disk: a
// test's broker outlives kills of the process, not of the machine. change may
// alter the embedded one's configuration; nil leaves it.
func New(tb testing.TB, change func(*embedded.Config)) *Broker {
	tb.Helper()
	cfg := embedded.Default()
	cfg.Dir, cfg.Sync, cfg.TrimEvery, cfg.MinFreeBytes = tb.TempDir(), false, time.Hour, 1<<20
	if change != nil {
		change(&cfg)
	}
	b := &Broker{tb: tb, cfg: cfg}
	if Apache() {
		b.apache = StartApache(tb, apache.Options{Detours: detours})
		return b
	}
	tb.Cleanup(b.Stop)
	b.Start()
	return b
}

// StartApache starts a cluster of Apache Kafka that lives as long as the test;
// what it printed is shown when the test fails. Where there is none, the test
// is skipped, or fails with CI=true.
func StartApache(tb testing.TB, o apache.Options) *apache.Cluster {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startPatience)
	defer cancel()
	c, err := apache.Start(ctx, o)
	if errors.Is(err, apache.ErrMissing) && os.Getenv("CI") != "true" {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(c.Log())
		}
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// startPatience is how long a cluster may take to start on a busy machine.
const startPatience = 2 * time.Minute

// Start starts the broker again after [Broker.Stop].
func (b *Broker) Start() {
	b.tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.apache != nil {
		ctx, cancel := context.WithTimeout(b.tb.Context(), startPatience)
		defer cancel()
		if err := b.apache.Begin(ctx, 1); err != nil {
			b.tb.Fatalf("Begin() = %v", err)
		}
		return
	}
	e, err := embedded.Start(b.tb.Context(), b.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.tb.Fatalf("Start() = %v", err)
	}
	b.embedded = e
}

// Stop ends the broker, Apache Kafka as kill -9 does; clients may wait for its
// return.
func (b *Broker) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.apache != nil {
		b.apache.Kill(1)
		return
	}
	if b.embedded == nil {
		return
	}
	if err := b.embedded.Close(context.WithoutCancel(b.tb.Context())); err != nil {
		b.tb.Errorf("Embedded.Close() = %v", err)
	}
	b.embedded = nil
}

// Embedded is the embedded broker itself, nil while stopped.
func (b *Broker) Embedded() *embedded.Broker {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.embedded
}

// Config is a client configuration for the broker.
func (b *Broker) Config() broker.Config {
	cfg := broker.Default()
	if b.apache != nil {
		cfg.Addrs = b.apache.Addrs()
		return cfg
	}
	socket := b.cfg.Socket
	if socket == "" {
		socket = b.cfg.Dir + "/kafka.sock"
	}
	cfg.Addrs = []string{"unix:" + socket}
	return cfg
}

// Detour is another way to the broker, through the test: a listener, whose
// address a client may be given, and the target to pass on to what comes
// there. The caller closes the listener.
func (b *Broker) Detour() (l net.Listener, target net.Addr) {
	b.tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var listen net.Addr = &net.UnixAddr{Net: "unix", Name: filepath.Join(b.tb.TempDir(), "detour")}
	target = &net.UnixAddr{Net: "unix", Name: strings.TrimPrefix(b.Config().Addrs[0], "unix:")}
	var err error
	if b.apache != nil {
		from, to := b.apache.Detour(1, b.taken)
		b.taken++
		if listen, err = net.ResolveTCPAddr("tcp", from); err == nil {
			target, err = net.ResolveTCPAddr("tcp", to)
		}
	}
	if err == nil {
		l, err = new(net.ListenConfig).Listen(b.tb.Context(), listen.Network(), listen.String())
	}
	if err != nil {
		b.tb.Fatalf("Detour() = %v", err)
	}
	return l, target
}

// Client dials the broker and makes the topics of the given lanes. change may
// alter the configuration; nil leaves it.
func (b *Broker) Client(change func(*broker.Config), lanes ...string) *broker.Client {
	b.tb.Helper()
	cfg := b.Config()
	if change != nil {
		change(&cfg)
	}
	c, err := broker.Dial(cfg, telemetry.Discard())
	if err != nil {
		b.tb.Fatalf("Dial() = %v", err)
	}
	b.tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.tb.Errorf("Client.Close() = %v", err)
		}
	})
	if len(lanes) > 0 {
		if err := c.EnsureTopics(b.tb.Context(), lanes); err != nil {
			b.tb.Fatalf("EnsureTopics() = %v", err)
		}
	}
	return c
}

// Producer makes a producer on the client that stops with the test.
func (b *Broker) Producer(c *broker.Client) *broker.Producer {
	p := broker.NewProducer(c, telemetry.Discard())
	b.tb.Cleanup(func() { // the broker may be down: what it did not take is given up
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.tb.Context()), time.Second)
		defer cancel()
		_ = p.Part().Stop(ctx)
	})
	return p
}
