// Package tracker answers "where is my mail?" and "which mail was paid?".
//
// It reads every event of the mesh from Kafka into its store, each exactly
// once; serves the pixel, the links and the unsubscribe page of sent mail;
// keeps the ledger of invoices; and tells all of it over TrackerService.
//
// What it is made of, in the order it starts; it stops in reverse:
//
//  1. the store (internal/store): mails, events, hits, invoices, offsets
//  2. the relay (internal/relay): what leaves the store, for Kafka and the router
//  3. the spool (internal/spool): hits on their way to Kafka
//  4. ingestion (internal/ingest): events from Kafka into the store
//  5. the door for readers (internal/web): pixel, links, unsubscribing
//  6. the gRPC server (internal/rpcapi), and the streams' news (internal/watch)
//
// The rules themselves stand in internal/mail, internal/ledger and internal/hit.
package tracker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/record"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/token"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
	"kurir.dev/services/tracker/internal/ingest"
	"kurir.dev/services/tracker/internal/relay"
	"kurir.dev/services/tracker/internal/rpcapi"
	"kurir.dev/services/tracker/internal/spool"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/watch"
	"kurir.dev/services/tracker/internal/web"
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
	// Router cancels reminders and keeps the suppression list; without it what
	// it is to be asked waits in the store for a tracker that has one.
	Router routerv1.RouterServiceClient
	// Tokens verifies the links of sent mail; required.
	Tokens *token.Ring
	// Gate is shared with the other services of the process, to stand back from
	// urgent mail; nil yields to nobody.
	Gate *gate.Gate
	// Ready is told when the tracker is ready; nil makes one.
	Ready *app.Ready
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// validate names what is missing.
func (d Deps) validate() error {
	var faults []error
	need := func(name string, ok bool) {
		if !ok {
			faults = append(faults, fmt.Errorf("the dependency %s is missing", name))
		}
	}
	need("Telemetry", d.Telemetry != nil)
	need("Broker", d.Broker != nil)
	need("Keyring", d.Keyring != nil)
	need("Tokens", d.Tokens != nil)
	return errors.Join(faults...)
}

// Service is a tracker. Start and stop it with Part, once.
type Service struct {
	server *rpc.Server
	pages  net.Listener
	part   app.Part
}

// New opens the store and both doors. What it returns is complete and runs with
// Part; a broker that is away is no error, the tracker is then not ready, but
// its pages answer. The error says which step failed: a port that is taken, a
// store that cannot be opened or was written by a newer program.
func New(ctx context.Context, deps Deps, cfg Config) (*Service, error) {
	if err := errors.Join(deps.validate(), cfg.Validate()); err != nil {
		return nil, fmt.Errorf("configuring the tracker: %w", err)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Ready == nil {
		deps.Ready = app.NewReady()
	}
	db, err := store.Open(ctx, cfg.Store.URL)
	if err != nil {
		return nil, fmt.Errorf("store.url: %w", err)
	}
	s, err := assemble(ctx, deps, cfg, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// assemble wires the parts over an open store.
func assemble(ctx context.Context, deps Deps, cfg Config, db *store.Store) (*Service, error) {
	codec := record.NewCodec(deps.Keyring, deps.Broker.Topics())
	producer := broker.NewProducer(deps.Broker, deps.Telemetry)
	hub := watch.NewHub()
	parcels := relay.NewParcels(deps.Telemetry, codec, db, producer, deps.Now)
	errands := relay.NewErrands(deps.Telemetry, db, deps.Router, deps.Now)
	posted := func() {
		parcels.Kick()
		errands.Kick()
	}
	hits := spool.New(spool.Deps{
		Telemetry: deps.Telemetry, Codec: codec, Store: db, Depth: parcels.Depth, Posted: posted, Now: deps.Now,
	}, spool.Config{Queue: cfg.Hits.Queue, Outbox: int64(cfg.Hits.Spool), TooFast: cfg.Hits.TooFast})
	ingester := ingest.New(ingest.Deps{
		Telemetry: deps.Telemetry, Broker: deps.Broker, Codec: codec, Store: db, Ready: deps.Ready, Now: deps.Now, Gate: deps.Gate,
		Stored: func(left bool) {
			hub.Tell()
			if left {
				posted()
			}
		},
	}, ingest.Config{
		Lanes: cfg.Lanes, Group: cfg.Ingest.Group, Batch: cfg.Ingest.Batch, Pace: cfg.Ingest.Pace, Lease: cfg.Ingest.Lease, MaxWait: cfg.Ingest.MaxWait,
	})
	door, err := web.New(web.Deps{Log: deps.Telemetry.Log, Tokens: deps.Tokens, Hits: hits, Mails: db, Now: deps.Now},
		web.Config{TrustedProxies: cfg.HTTP.TrustedProxies, Timeout: cfg.HTTP.Timeout, Idle: cfg.HTTP.Idle})
	if err != nil {
		return nil, fmt.Errorf("making the pages: %w", err)
	}
	api := rpcapi.New(rpcapi.Deps{
		Log: deps.Telemetry.Log, Store: db, Hub: hub, Errand: errands.Do, Posted: posted, Now: deps.Now,
	}, rpcapi.Config{Attribution: cfg.Attribution, MaxWatch: cfg.Watch.Max, Poll: poll(db, cfg.Watch)})

	// The doors last: a listener that is open is not left behind by an error.
	auth, err := rpc.NewAuth(cfg.Auth)
	if err != nil {
		return nil, fmt.Errorf("reading the API keys: %w", err)
	}
	server, err := rpc.NewServer(cfg.GRPC, rpc.ServerDeps{
		Service: "tracker", Telemetry: deps.Telemetry, Auth: auth, Listener: deps.Listener, Ready: deps.Ready,
	})
	if err != nil {
		return nil, err
	}
	trackerv1.RegisterTrackerServiceServer(server, api)
	pages := deps.HTTPListener
	if pages == nil {
		if pages, err = app.Listen(ctx, cfg.HTTP.Listen, "choose another with the key http.listen"); err != nil {
			return nil, errors.Join(err, server.Part().Stop(ctx))
		}
	}
	serving := server.Part()
	return &Service{server: server, pages: pages, part: app.Join("tracker",
		app.Part{Name: "store", Stop: func(context.Context) error { return db.Close() }},
		producer.Part(),
		parcels.Part(),
		errands.Part(),
		hits.Part(),
		ingester.Part(),
		door.Part(pages),
		serving,
		// Streams never end by themselves: they are told before the server waits for them.
		app.Part{Name: "watchers", Stop: func(context.Context) error {
			hub.Close()
			return nil
		}},
	)}, nil
}

// poll is how often streams look into the store by themselves: only where
// another replica may have written to it.
func poll(db *store.Store, cfg Watch) time.Duration {
	if db.Shared() {
		return cfg.Poll
	}
	return 0
}

// Part starts and stops the tracker. Stop takes no more calls, lets those under
// way end, writes the hits that are queued and gives its partitions back.
func (s *Service) Part() app.Part { return s.part }

// Addr is where TrackerService listens.
func (s *Service) Addr() net.Addr { return s.server.Addr() }

// HTTPAddr is where pixel, links and pages are served.
func (s *Service) HTTPAddr() net.Addr { return s.pages.Addr() }
