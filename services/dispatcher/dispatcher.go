// Package dispatcher delivers mail. It reads the lanes it serves from Kafka,
// finds where each mail goes, waits for its turn, speaks SMTP, judges the
// reply, and writes down what came of it before it lets go of the record. What
// must wait goes back to the router; the dispatcher keeps nothing of its own.
package dispatcher

import (
	"context"
	"errors"
	"net"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
)

// Deps are the things a dispatcher is made of beside its configuration.
type Deps struct {
	// Telemetry logs, traces and measures; required.
	Telemetry *telemetry.Telemetry
	// Listener serves gRPC; nil listens at Config.GRPC.Listen.
	Listener net.Listener
	// Broker is where mail comes from and outcomes go to; required.
	Broker *broker.Client
	// Keyring opens and seals the records; required.
	Keyring *seal.Keyring
	// Ready is told when the dispatcher is ready; nil makes one.
	Ready *app.Ready
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Service is a dispatcher.
type Service struct{}

// New makes a dispatcher. What it returns is complete and starts with Part.
func New(_ context.Context, _ Deps, cfg Config) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return nil, errors.New("dispatcher: being laid out")
}

// Part starts and stops the dispatcher.
func (s *Service) Part() app.Part { return app.Part{Name: "dispatcher"} }

// Addr is where DispatcherService listens.
func (s *Service) Addr() net.Addr { return nil }

// SandboxAddr is where the sandbox inbox takes mail; nil when no route leads
// to it.
func (s *Service) SandboxAddr() net.Addr { return nil }

// SandboxPageAddr is where the sandbox inbox shows its page; nil when it has
// none.
func (s *Service) SandboxPageAddr() net.Addr { return nil }
