// Package dispatcher delivers mail. It reads the lanes it serves from Kafka,
// finds where each mail goes, waits for its turn, speaks SMTP, judges the
// reply, and writes down what came of it before it lets go of the record. What
// must wait goes back to the router; the dispatcher keeps nothing of its own.
//
// What it is made of, in the order it starts; it stops in reverse:
//
//  1. the producer and the journal (internal/journal): outcomes to the broker
//  2. the sandbox inbox (internal/sandbox), when a route can lead to it
//  3. the engine (internal/deliver): from lane record to outcome
//  4. the count of live dispatchers (internal/member), and a consumer per lane,
//     once the topics are there
//  5. the warden: topics and readiness
//  6. the gRPC server (internal/rpcapi)
package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/record"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	dispatcherv1 "kurir.dev/proto/gen/kurir/dispatcher/v1"
	"kurir.dev/services/dispatcher/internal/deliver"
	"kurir.dev/services/dispatcher/internal/dkim"
	"kurir.dev/services/dispatcher/internal/dns"
	"kurir.dev/services/dispatcher/internal/journal"
	"kurir.dev/services/dispatcher/internal/member"
	"kurir.dev/services/dispatcher/internal/route"
	"kurir.dev/services/dispatcher/internal/rpcapi"
	"kurir.dev/services/dispatcher/internal/sandbox"
)

// scope names the tracer and the meter.
const scope = "kurir.dev/services/dispatcher"

// unsettled is how many outcomes of a lane may wait for the broker before no
// more of its mail is sent.
const unsettled = 1000

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
	// Ready is told whether the dispatcher can deliver; nil makes one.
	Ready *app.Ready
	// Gate is shared with the other services of the process; nil makes one.
	Gate *gate.Gate
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Service is a dispatcher. Start and stop it with Part, once.
type Service struct {
	server *rpc.Server
	inbox  *sandbox.Inbox // nil when no route leads to it
	part   app.Part
}

// New makes a dispatcher that listens. What it returns is complete and runs
// with Part; a broker that is away is no error, the dispatcher is then not
// ready. The error says which step failed: a port that is taken, a DKIM key
// that is missing, no name server to ask.
func New(ctx context.Context, deps Deps, cfg Config) (*Service, error) {
	if err := errors.Join(deps.validate(), cfg.Validate()); err != nil {
		return nil, fmt.Errorf("configuring the dispatcher: %w", err)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Ready == nil {
		deps.Ready = app.NewReady()
	}
	if cfg.SMTP.EHLO == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("finding a name to greet with: %w", err)
		}
		cfg.SMTP.EHLO = strings.ToLower(name)
	}
	routes, err := route.New(cfg.Routes)
	if err != nil {
		return nil, fmt.Errorf("reading the routes: %w", err)
	}
	resolver, err := dns.New(cfg.DNS, deps.Now)
	if err != nil {
		return nil, fmt.Errorf("making the resolver: %w", err)
	}
	if deps.Gate == nil {
		deps.Gate = gate.New(cfg.Gate, cfg.LaneTable)
		if err := deps.Gate.Measure(deps.Telemetry.Meter(scope)); err != nil {
			return nil, fmt.Errorf("making the gate: %w", err)
		}
	}
	signer, err := dkim.New(cfg.DKIM, deps.Gate)
	if err != nil {
		return nil, err
	}
	s := &Service{}
	if routes.Uses(route.Sandbox) {
		if s.inbox, err = sandbox.New(ctx, cfg.Sandbox, deps.Telemetry.Log, deps.Now); err != nil {
			return nil, fmt.Errorf("opening the sandbox inbox: %w", err)
		}
	}
	if err := s.assemble(deps, cfg, routes, resolver, signer); err != nil {
		return nil, errors.Join(err, s.inbox.Close())
	}
	return s, nil
}

// assemble wires the parts.
func (s *Service) assemble(deps Deps, cfg Config, routes *route.Table, resolver *dns.Resolver, signer *dkim.Signer) error {
	lanes := cfg.served()
	meter := deps.Telemetry.Meter(scope)
	metrics, err := deliver.NewMetrics(meter, lanes.Names())
	if err != nil {
		return err
	}
	log := deps.Telemetry.Log
	producer := broker.NewProducer(deps.Broker, deps.Telemetry)
	codec := record.NewCodec(deps.Keyring, deps.Broker.Topics())
	outcomes := journal.New(codec, producer, log, unsettled)
	engine := deliver.New(s.engine(cfg, lanes), deliver.Deps{
		Log: log, Tracer: deps.Telemetry.Tracer(scope), Metrics: metrics, Codec: codec, Journal: outcomes,
		Resolver: resolver, Routes: routes, Signer: signer, Gate: deps.Gate, Dialer: &net.Dialer{}, Now: deps.Now,
	})
	if err := gauges(meter, engine, lanes.Names(), deps.Now); err != nil {
		return err
	}

	warden := broker.NewWarden(deps.Broker, producer, cfg.LaneTable.Names(), deps.Ready, log)
	for _, l := range lanes.Names() {
		warden.Writes(deps.Broker.Topics().Outcome(l))
	}
	parts := []app.Part{producer.Part(), outcomes.Part()}
	if s.inbox != nil {
		parts = append(parts, s.inbox.Part())
	}
	parts = append(parts, engine.Part())
	var consumers []app.Part
	for _, l := range lanes {
		consumer, err := s.consumer(deps, cfg, engine, l)
		if err != nil {
			return err
		}
		consumers = append(consumers, app.Loop("lane "+l.Name, warden.After(consumer.Run)))
	}
	// The groups of all lanes, served here or not: sites are shared by all.
	var groups []string
	for _, l := range cfg.LaneTable {
		groups = append(groups, cfg.group(l.Name))
	}
	members := app.Loop("members", warden.After(func(ctx context.Context) error {
		return member.Watch(ctx, log, func(ctx context.Context) (int, error) { return deps.Broker.Members(ctx, groups...) }, engine.Sites().Share)
	}))
	parts = append(parts, members, app.Together("lanes", consumers...), warden.Part())

	// The door last: a listener that is open is not left behind by an error.
	api := rpcapi.New(engine.Sites(), engine.Suspend, cfg.SMTP.EHLO, lanes.Names(), deps.Now)
	if s.server, err = newServer(deps, cfg, api); err != nil {
		return err
	}
	s.part = app.Join("dispatcher", append(parts, s.server.Part())...)
	s.announce(log, signer)
	return nil
}

func (s *Service) engine(cfg Config, lanes lane.Set) deliver.Config {
	c := deliver.Config{
		Lanes: lanes, SMTP: cfg.SMTP, Sites: cfg.Sites,
		Workers: map[string]int{}, Lookups: map[string]int{}, Outstanding: map[string]int{}, Bytes: map[string]int64{},
		Urgent: cfg.LaneTable[0].Name,
	}
	for _, l := range lanes {
		b := cfg.budget(l.Name)
		if l.Inline { // dead name servers of some must not hold up the codes of others
			b.Lookups = b.Outstanding
		}
		c.Workers[l.Name], c.Lookups[l.Name], c.Outstanding[l.Name] = b.Workers, b.Lookups, b.Outstanding
		c.Bytes[l.Name] = b.Bytes
	}
	c.Session = cmp.Or(cfg.Lease.Session, custody.Default().Session)
	if s.inbox != nil {
		c.Sandbox = s.inbox.Addr().String()
	}
	return c
}

func (s *Service) consumer(deps Deps, cfg Config, engine *deliver.Engine, l lane.Lane) (*custody.Consumer, error) {
	handler, err := engine.Lane(l.Name)
	if err != nil {
		return nil, err
	}
	budget, lease := cfg.budget(l.Name), cfg.Lease.of(l)
	consumer, err := custody.New(deps.Broker, deps.Telemetry, handler, custody.Config{
		Group: cfg.group(l.Name),
		Topic: deps.Broker.Topics().Lane(l.Name), Journal: deps.Broker.Topics().Outcome(l.Name),
		MaxRecords: budget.Outstanding, MaxBytes: budget.Bytes, Bands: true,
		CommitEvery: lease.CommitEvery, Drain: lease.Drain, Session: lease.Session,
		Heartbeat: lease.Heartbeat, Rebalance: lease.Rebalance, JournalRewind: lease.JournalRewind,
	})
	if err != nil {
		return nil, fmt.Errorf("making the consumer of lane %s: %w", l.Name, err)
	}
	return consumer, nil
}

func newServer(deps Deps, cfg Config, api *rpcapi.Server) (*rpc.Server, error) {
	var auth *rpc.Auth
	if len(cfg.Auth.Keys) > 0 {
		var err error
		if auth, err = rpc.NewAuth(cfg.Auth); err != nil {
			return nil, fmt.Errorf("reading auth: %w", err)
		}
	}
	server, err := rpc.NewServer(cfg.GRPC, rpc.ServerDeps{
		Service: "dispatcher", Telemetry: deps.Telemetry, Auth: auth, Listener: deps.Listener, Ready: deps.Ready,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the door: %w", err)
	}
	dispatcherv1.RegisterDispatcherServiceServer(server, api)
	return server, nil
}

// announce logs what an operator has to publish or look at.
func (s *Service) announce(log *slog.Logger, signer *dkim.Signer) {
	for _, r := range signer.Records() {
		log.Info("dkim record to publish", slog.String("record", r))
	}
	if s.inbox != nil && s.inbox.PageAddr() != nil {
		log.Info("sandbox inbox", slog.String("page", "http://"+s.inbox.PageAddr().String()))
	}
}

func (d Deps) validate() error {
	var faults []error
	for name, missing := range map[string]bool{
		"telemetry": d.Telemetry == nil, "broker": d.Broker == nil, "keyring": d.Keyring == nil,
	} {
		if missing {
			faults = append(faults, fmt.Errorf("%s: is missing", name))
		}
	}
	return errors.Join(faults...)
}

// Part is the dispatcher's life. Start returns when it serves; it is ready
// once the broker answers. Stop takes no more mail, lets what is on the wire
// end within its bound, gives the rest back, and says QUIT.
func (s *Service) Part() app.Part { return s.part }

// Addr is where DispatcherService listens.
func (s *Service) Addr() net.Addr { return s.server.Addr() }

// SandboxAddr is where the sandbox inbox takes mail; nil when no route leads
// to it.
func (s *Service) SandboxAddr() net.Addr {
	if s.inbox == nil {
		return nil
	}
	return s.inbox.Addr()
}

// SandboxPageAddr is where the sandbox inbox shows its page; nil when it has
// none.
func (s *Service) SandboxPageAddr() net.Addr {
	if s.inbox == nil {
		return nil
	}
	return s.inbox.PageAddr()
}
