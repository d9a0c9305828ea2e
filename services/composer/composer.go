// Package composer is the service product services talk to: it checks what
// they ask for, renders it from a template, makes the message and hands it to
// the router. A mail it answered for is in the router's custody; the composer
// itself keeps nothing, so any number of them can run.
package composer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/token"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// Deps is what a composer needs from its process.
type Deps struct {
	// Telemetry observes it.
	Telemetry *telemetry.Telemetry
	// Listener is used instead of one on the configured address; the composer
	// closes it.
	Listener net.Listener
	// Ready is the gate of the process; nil is the composer's own.
	Ready *app.Ready
	// Router takes the mails; a connection from rpc.Dial.
	Router routerv1.RouterServiceClient
	// Tokens sign pixels and links; the tracker must know the same keys.
	Tokens *token.Ring
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Service is a composer. It listens from New on and serves while its Part runs.
type Service struct {
	server *rpc.Server
}

// New returns a composer, or an error that says which step failed.
func New(_ context.Context, deps Deps, cfg Config) (*Service, error) {
	if deps.Telemetry == nil || deps.Router == nil || deps.Tokens == nil {
		return nil, errors.New("composer: telemetry, router and tokens are needed")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("checking the configuration: %w", err)
	}
	auth, err := rpc.NewAuth(cfg.auth())
	if err != nil {
		return nil, fmt.Errorf("reading the API keys: %w", err)
	}
	server, err := rpc.NewServer(cfg.RPC, rpc.ServerDeps{
		Service: "composer", Telemetry: deps.Telemetry, Auth: auth, Listener: deps.Listener, Ready: deps.Ready,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the gRPC server: %w", err)
	}
	mailv1.RegisterMailServiceServer(server, mailv1.UnimplementedMailServiceServer{})
	return &Service{server: server}, nil
}

// Addr returns where MailService is served.
func (s *Service) Addr() net.Addr { return s.server.Addr() }

// Part serves from Start to Stop, which lets the calls under way end.
func (s *Service) Part() app.Part { return s.server.Part() }
