// Package tracker answers "where is my mail?" and "which mail was paid?".
//
// It reads every event of the mesh from Kafka into its store, each exactly
// once; serves the pixel, the links and the unsubscribe page of sent mail;
// keeps the ledger of invoices; and tells all of it over TrackerService.
package tracker

import (
	"context"
	"errors"
	"net"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/token"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// Deps are the things a tracker is made of beside its configuration.
type Deps struct {
	// Telemetry logs, traces and measures; required.
	Telemetry *telemetry.Telemetry
	// Listener serves gRPC; nil listens at Config.GRPC.Listen.
	Listener net.Listener
	// HTTPListener serves pixel, links and pages; nil listens at
	// Config.HTTP.Listen.
	HTTPListener net.Listener
	// Broker is where events come from and go to; required.
	Broker *broker.Client
	// Keyring opens the records; required.
	Keyring *seal.Keyring
	// Router cancels reminders and keeps the suppression list; nil leaves
	// both undone.
	Router routerv1.RouterServiceClient
	// Tokens verifies the links of sent mail; required.
	Tokens *token.Ring
	// Ready is told when the tracker is ready; nil makes one.
	Ready *app.Ready
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Service is a running tracker.
type Service struct{}

// New opens the store and both doors. What it returns is complete and starts
// with Part.
func New(ctx context.Context, deps Deps, cfg Config) (*Service, error) {
	return nil, errors.New("tracker: being laid out")
}

// Part starts and stops the tracker.
func (s *Service) Part() app.Part { return app.Part{Name: "tracker"} }

// Addr is where TrackerService listens.
func (s *Service) Addr() net.Addr { return nil }

// HTTPAddr is where pixel, links and pages are served.
func (s *Service) HTTPAddr() net.Addr { return nil }
