package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"kurir.dev/kit/app"
	"kurir.dev/kit/telemetry"
)

// Defaults of ServerConfig and ClientConfig.
const (
	// DefaultMessageBytes is the size of the largest message, 32 MiB.
	DefaultMessageBytes = 32 << 20
	// DefaultDeadline is the time of a call whose caller gave none.
	DefaultDeadline = 20 * time.Second
)

// ServerConfig is how a gRPC server listens.
type ServerConfig struct {
	// Listen is the host:port to listen on; port 0 takes any free one.
	Listen string `yaml:"listen"`
	// TLS is off if zero.
	TLS TLS `yaml:"tls"`
	// MaxMessageBytes bounds a request; zero is DefaultMessageBytes.
	MaxMessageBytes int `yaml:"max_message_bytes"`
	// DefaultDeadline is given to unary calls that come without; zero is
	// DefaultDeadline.
	DefaultDeadline time.Duration `yaml:"default_deadline"`
}

// Validate returns all that is wrong with c, joined. It does not read files.
func (c ServerConfig) Validate() error {
	faults := []error{c.TLS.Validate()}
	if c.MaxMessageBytes < 0 {
		faults = append(faults, errors.New("max_message_bytes: is negative"))
	}
	if c.DefaultDeadline < 0 {
		faults = append(faults, errors.New("default_deadline: is negative"))
	}
	return errors.Join(faults...)
}

// ServerDeps is what a server needs from its process.
type ServerDeps struct {
	// Service is the short name, "composer": the error domain is composer.kurir.
	Service string
	// Telemetry observes the calls.
	Telemetry *telemetry.Telemetry
	// Auth checks API keys. Without, the server is open.
	Auth *Auth
	// Listener is used instead of one on the configured address. The server closes
	// it.
	Listener net.Listener
	// Ready gets a gate named after the service, and answers the health checks. A
	// nil Ready is the server's own.
	Ready *app.Ready
	// OwnItems names the methods, as "/package.Service/Method", whose handlers call
	// Validate for each message themselves: streams that answer every item, where
	// one bad item must not end the stream, and calls that check more than the proto
	// says and tell all of it at once.
	OwnItems []string
}

// Server is a gRPC server. Register services on it before its Part starts.
type Server struct {
	grpc     *grpc.Server
	health   *health.Server
	listener net.Listener
	service  string
	ready    *app.Ready
	panics   metric.Int64Counter

	failed chan error
	quit   chan struct{}
	owned  sync.WaitGroup
}

var _ grpc.ServiceRegistrar = (*Server)(nil)

// NewServer returns a server that listens already and serves once its Part
// starts. A port that is taken is an *app.ListenError.
func NewServer(cfg ServerConfig, deps ServerDeps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	creds, err := cfg.TLS.server()
	if err != nil {
		return nil, err
	}
	g, err := newGate(cfg, deps)
	if err != nil {
		return nil, err
	}
	listener := deps.Listener
	if listener == nil {
		ctx := context.Background() //nolint:forbidigo // binding a port takes no time that one could cancel
		if listener, err = app.Listen(ctx, cfg.Listen, "choose another with -listen or the key grpc.listen"); err != nil {
			return nil, err
		}
	}
	s := &Server{
		health: health.NewServer(), listener: listener, service: deps.Service, ready: deps.Ready, panics: g.panics,
		failed: make(chan error, 1), quit: make(chan struct{}),
	}
	if s.ready == nil {
		s.ready = app.NewReady()
	}
	s.ready.Set(s.service, false, "starting")
	s.grpc = grpc.NewServer(
		grpc.Creds(creds),
		grpc.StatsHandler(otelgrpc.NewServerHandler(observe(deps.Telemetry)...)),
		grpc.ChainUnaryInterceptor(g.unary()...),
		grpc.ChainStreamInterceptor(g.stream()...),
		grpc.MaxRecvMsgSize(orDefault(cfg.MaxMessageBytes, DefaultMessageBytes)),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	return s, nil
}

func newGate(cfg ServerConfig, deps ServerDeps) (*gate, error) {
	panics, err := deps.Telemetry.Meter("kurir.dev/kit/rpc").Int64Counter("kurir_"+deps.Service+"_panics",
		metric.WithDescription("Handlers that panicked and were recovered."))
	if err != nil {
		return nil, fmt.Errorf("making the panic counter: %w", err)
	}
	return &gate{
		domain: deps.Service + ".kurir", log: deps.Telemetry.Log, panics: panics, tls: cfg.TLS, auth: deps.Auth,
		fallback: orDefault(cfg.DefaultDeadline, DefaultDeadline), own: deps.OwnItems, now: time.Now,
	}, nil
}

// observe is how both ends of a call are traced and measured.
func observe(t *telemetry.Telemetry) []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithTracerProvider(t.TracerProvider),
		otelgrpc.WithMeterProvider(t.MeterProvider),
		otelgrpc.WithPropagators(telemetry.Propagator()),
		otelgrpc.WithFilter(filters.Not(filters.HealthCheck())),
	}
}

func orDefault[T int | time.Duration](v, fallback T) T {
	if v == 0 {
		return fallback
	}
	return v
}

// RegisterService adds a service; it must be called before the Part starts.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.grpc.RegisterService(desc, impl)
}

// Addr returns where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Part serves from Start to Stop. Stop tells the world that the server is not
// ready, refuses new calls, lets those under way end until its context does, and
// then ends their contexts and waits for the handlers to obey. A server that is
// given up before it started is released by Stop too.
func (s *Server) Part() app.Part {
	return app.Part{Name: s.service + " rpc", Start: s.start, Stop: s.stop, Failed: s.failed}
}

func (s *Server) start(ctx context.Context) error {
	s.panics.Add(ctx, 0) // so that the metric is there before the first
	s.owned.Go(func() {
		defer close(s.failed)
		if err := s.grpc.Serve(s.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.failed <- fmt.Errorf("serving gRPC: %w", err)
		}
	})
	s.owned.Go(s.follow)
	s.ready.Set(s.service, true, "")
	return nil
}

func (s *Server) stop(ctx context.Context) error {
	s.ready.Set(s.service, false, "stopping")
	s.health.Shutdown() // ends its watches too, which never end by themselves
	close(s.quit)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.grpc.GracefulStop()
	}()
	var err error
	select {
	case <-drained:
	case <-ctx.Done():
		err = fmt.Errorf("calls were cut off: %w", ctx.Err())
		s.grpc.Stop()
		<-drained
	}
	s.owned.Wait()
	// gRPC closed it already, unless it never served.
	if cerr := s.listener.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) && err == nil {
		err = cerr
	}
	return err
}

// follow keeps the health service in step with the process.
func (s *Server) follow() {
	for {
		changed := s.ready.Changed()
		state := healthv1.HealthCheckResponse_NOT_SERVING
		if ok, _ := s.ready.OK(); ok {
			state = healthv1.HealthCheckResponse_SERVING
		}
		s.health.SetServingStatus("", state)
		for name := range s.grpc.GetServiceInfo() {
			s.health.SetServingStatus(name, state)
		}
		select {
		case <-changed:
		case <-s.quit:
			return
		}
	}
}
