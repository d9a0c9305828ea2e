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
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"kurir.dev/kit/app"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/mailaddr"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/token"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/composer/internal/rpcapi"
	"kurir.dev/services/composer/internal/submission"
	"kurir.dev/services/composer/internal/template"
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
	// Gate is shared with the other services of the process; nil makes one.
	Gate *gate.Gate
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// NewID makes the ids of mails; nil makes random UUIDv7s.
	NewID func() (string, error)
}

// Service is a composer. It listens from New on and serves while its Part runs.
type Service struct {
	server *rpc.Server
}

// New returns a composer, or an error that says which step failed.
func New(ctx context.Context, deps Deps, cfg Config) (*Service, error) {
	if deps.Telemetry == nil || deps.Router == nil || deps.Tokens == nil {
		return nil, errors.New("composer: telemetry, router and tokens are needed")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("checking the configuration: %w", err)
	}
	if deps.Gate == nil {
		deps.Gate = gate.New(cfg.Gate, cfg.Lanes)
		if err := deps.Gate.Measure(deps.Telemetry.Meter("kurir.dev/services/composer")); err != nil {
			return nil, fmt.Errorf("making the gate: %w", err)
		}
	}
	domain, err := cfg.domain(deps)
	if err != nil {
		return nil, err
	}
	api, err := rpcapi.New(ctx, submission.New(domain), deps.Router, cfg.BatchInFlight, deps.Telemetry)
	if err != nil {
		return nil, fmt.Errorf("making the API: %w", err)
	}
	auth, err := rpc.NewAuth(cfg.auth())
	if err != nil {
		return nil, fmt.Errorf("reading the API keys: %w", err)
	}
	server, err := rpc.NewServer(cfg.GRPC, rpc.ServerDeps{
		Service: "composer", Telemetry: deps.Telemetry, Auth: auth, Listener: deps.Listener, Ready: deps.Ready,
		OwnItems: rpcapi.OwnItems(),
	})
	if err != nil {
		return nil, fmt.Errorf("opening the gRPC server: %w", err)
	}
	mailv1.RegisterMailServiceServer(server, api)
	return &Service{server: server}, nil
}

// Addr returns where MailService is served.
func (s *Service) Addr() net.Addr { return s.server.Addr() }

// Part serves from Start to Stop, which lets the calls under way end.
func (s *Service) Part() app.Part { return s.server.Part() }

// domain loads the templates and resolves the tenants.
func (c Config) domain(deps Deps) (submission.Config, error) {
	out := submission.Config{
		Tenants: make(map[string]submission.Tenant, len(c.Tenants)), Lanes: c.Lanes,
		PublicURL: strings.TrimRight(c.PublicURL, "/"), Tokens: deps.Tokens, MaxBytes: c.MaxMailBytes,
		Gate: deps.Gate, Now: deps.Now, NewID: deps.NewID,
	}
	if out.NewID == nil {
		out.NewID = newID
	}
	if out.Now == nil {
		out.Now = time.Now
	}
	shared, err := template.Builtin()
	if err != nil {
		return out, fmt.Errorf("loading the built-in templates: %w", err)
	}
	if shared, err = overlay(c.Templates, shared); err != nil {
		return out, err
	}
	for name, t := range c.Tenants {
		resolved, err := t.domain(shared)
		if err != nil {
			return out, fmt.Errorf("tenant %s: %w", name, err)
		}
		out.Tenants[name] = resolved
	}
	if open, ok := out.Tenants[DefaultTenant]; ok && len(c.auth().Keys) == 0 {
		out.Fallback = &open
	}
	return out, nil
}

// domain resolves one tenant over the shared templates.
func (t Tenant) domain(shared *template.Catalog) (submission.Tenant, error) {
	out := submission.Tenant{FromName: t.From.Name, Locale: t.Locale, Brand: template.Brand(t.Brand), Untracked: t.Untracked}
	var err error
	if out.From, err = mailaddr.Parse(t.From.Email); err != nil {
		return out, fmt.Errorf("reading from.email: %w", err)
	}
	if out.ReturnDomain, err = mailaddr.ParseDomain(t.ReturnDomain); err != nil {
		return out, fmt.Errorf("reading return_domain: %w", err)
	}
	for _, name := range t.Domains {
		domain, err := mailaddr.ParseDomain(name)
		if err != nil {
			return out, fmt.Errorf("reading domains: %w", err)
		}
		out.Domains = append(out.Domains, domain)
	}
	if out.Locale == "" {
		out.Locale = "id-ID"
	}
	if out.Brand.Name == "" {
		out.Brand.Name = t.From.Name
	}
	out.Templates, err = overlay(t.Templates, shared)
	return out, err
}

// overlay loads a directory of templates over others; an empty name adds none.
func overlay(dir string, under *template.Catalog) (*template.Catalog, error) {
	if dir == "" {
		return under, nil
	}
	c, err := template.Load(os.DirFS(dir), under)
	if err != nil {
		return nil, fmt.Errorf("loading the templates in %s: %w", dir, err)
	}
	return c, nil
}

// newID returns a time-ordered id (RFC 9562 §5.7).
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	return id.String(), nil
}
