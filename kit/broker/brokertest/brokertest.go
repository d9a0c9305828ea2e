// Package brokertest gives tests a real broker: the embedded one, over its
// socket, in the test's own directory.
package brokertest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/embedded"
	"kurir.dev/kit/telemetry"
)

// Broker is an embedded broker that lives as long as its test.
type Broker struct {
	tb  testing.TB
	cfg embedded.Config

	mu       sync.Mutex
	embedded *embedded.Broker
}

// New starts a broker in a temporary directory. It does not sync to disk: a
// test's broker outlives kills of the process, not of the machine. change may
// alter its configuration; nil leaves it.
func New(tb testing.TB, change func(*embedded.Config)) *Broker {
	tb.Helper()
	cfg := embedded.Default()
	cfg.Dir, cfg.Sync, cfg.TrimEvery, cfg.MinFreeBytes = tb.TempDir(), false, time.Hour, 1<<20
	if change != nil {
		change(&cfg)
	}
	b := &Broker{tb: tb, cfg: cfg}
	tb.Cleanup(b.Stop)
	b.Start()
	return b
}

// Start starts the broker again after [Broker.Stop].
func (b *Broker) Start() {
	b.tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	e, err := embedded.Start(b.tb.Context(), b.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.tb.Fatalf("Start() = %v", err)
	}
	b.embedded = e
}

// Stop ends the broker; clients may wait for its return.
func (b *Broker) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.embedded == nil {
		return
	}
	if err := b.embedded.Close(context.WithoutCancel(b.tb.Context())); err != nil {
		b.tb.Errorf("Embedded.Close() = %v", err)
	}
	b.embedded = nil
}

// Embedded is the broker itself, nil while stopped.
func (b *Broker) Embedded() *embedded.Broker {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.embedded
}

// Config is a client configuration for the broker.
func (b *Broker) Config() broker.Config {
	cfg := broker.Default()
	socket := b.cfg.Socket
	if socket == "" {
		socket = b.cfg.Dir + "/kafka.sock"
	}
	cfg.Addrs = []string{"unix:" + socket}
	return cfg
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
