// Package router takes custody of finished mail: it decides whether and when a
// mail may go, puts it onto its lane, and keeps what must wait.
package router

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

// Deps are the things a router is made of beside its configuration.
type Deps struct {
	// Telemetry logs, traces and measures; required.
	Telemetry *telemetry.Telemetry
	// Listener serves gRPC; nil listens at Config.GRPC.Listen.
	Listener net.Listener
	// Broker is where mail goes to and deferred mail comes from; required.
	Broker *broker.Client
	// Keyring seals and opens records; required.
	Keyring *seal.Keyring
	// Ready is told when the router can take mail; nil makes one.
	Ready *app.Ready
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Service is a router.
type Service struct{}

// New opens the store and the door. What it returns is complete and runs with
// Part.
func New(ctx context.Context, deps Deps, cfg Config) (*Service, error) {
	return nil, errors.New("router: being laid out")
}

// Part starts and stops the router.
func (s *Service) Part() app.Part { return app.Part{Name: "router"} }

// Addr is where RouterService listens.
func (s *Service) Addr() net.Addr { return nil }
