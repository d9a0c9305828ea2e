// Package router takes custody of finished mail: it decides whether and when a
// mail may go, puts it onto its lane, and keeps what must wait.
//
// What it is made of, in the order it starts; it stops in reverse:
//
//  1. the store (internal/store): keys, suppressions, waiting mail
//  2. the producer and the post (internal/wire): mail and events to the broker
//  3. the crowd (internal/crowd): who has much unfinished, and goes aside
//  4. the desk (internal/admission): decides about submissions
//  5. the releaser (internal/waiting): sees waiting mail out in time
//  6. the intake (internal/intake): brings deferred mail in
//  7. the warden, the purge, the sweep and the look at the lanes: readiness,
//     forgetting what is old, settling what a crash left open
//  8. the gRPC server (internal/rpcapi)
package router

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
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/crowd"
	"kurir.dev/services/router/internal/dead"
	"kurir.dev/services/router/internal/intake"
	"kurir.dev/services/router/internal/rpcapi"
	"kurir.dev/services/router/internal/scan"
	"kurir.dev/services/router/internal/store"
	"kurir.dev/services/router/internal/waiting"
	"kurir.dev/services/router/internal/wire"
)

// margin is the part of a caller's deadline kept to say what did not answer,
// beside what kit/rpc keeps.
const margin = 30 * time.Millisecond

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
	// Ready is told whether the router can take mail; nil makes one.
	Ready *app.Ready
	// Gate shares the processors among the lanes; nil makes one.
	Gate *gate.Gate
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Service is a router. Start and stop it with Part, once.
type Service struct {
	server *rpc.Server
	part   app.Part
}

// New opens the store and the door. What it returns is complete and runs with
// Part; a broker that is away is no error, the router is then not ready. The
// error says which step failed: a port that is taken, a store that cannot be
// opened or was written by a newer program.
func New(ctx context.Context, deps Deps, cfg Config) (*Service, error) {
	if err := errors.Join(deps.validate(), cfg.Validate()); err != nil {
		return nil, fmt.Errorf("configuring the router: %w", err)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Ready == nil {
		deps.Ready = app.NewReady()
	}
	if deps.Gate == nil {
		deps.Gate = gate.New(cfg.Gate, cfg.Lanes)
		if err := deps.Gate.Measure(deps.Telemetry.Meter("kurir.dev/services/router")); err != nil {
			return nil, fmt.Errorf("making the gate: %w", err)
		}
	}
	db, err := store.Open(ctx, cfg.Store.URL, cfg.Lanes.Names(), deps.Gate, store.Inherit(deps.Now(), cfg.Waiting.Lease))
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
	log := deps.Telemetry.Log
	lanes := &lanes{broker: deps.Broker, store: db, group: cfg.Groups.Dispatcher, names: cfg.Lanes.Names(), log: log}
	crowd := crowd.New(cfg.Overflow, cfg.Lanes.Names(), lanes.commits, log)
	meters, err := newMeters(ctx, deps.Telemetry, cfg.Lanes, db.Counts, lanes.last, crowd.Crowded)
	if err != nil {
		return nil, err
	}
	producer := broker.NewProducer(deps.Broker, deps.Telemetry)
	codec := record.NewCodec(deps.Keyring, deps.Broker.Topics())
	post, err := wire.NewPost(ctx, deps.Broker, producer, codec, deps.Gate, deps.Telemetry, deps.Now)
	if err != nil {
		return nil, err
	}
	finder := wire.NewFinder(deps.Broker, producer, codec)

	releaser := waiting.NewReleaser(db, post, crowd, cfg.Lanes.Names(), cfg.Waiting, log,
		waiting.Meter{Left: meters.left, Unreadable: meters.unread}, deps.Now)
	room := waiting.NewRoom(db, releaser.WakeAll, deps.Now)
	desk := admission.NewDesk(
		admission.Deps{
			Ledger: db, Carrier: post, Finder: finder, Log: log, Now: deps.Now, Wake: releaser.Wake, Gate: deps.Gate, Crowd: crowd,
			Found: meters.found,
		},
		admission.Config{
			Rules: admission.Rules{
				Lanes: cfg.Lanes, MaxBytes: cfg.Admission.MaxMailBytes, MaxAhead: cfg.Admission.MaxAhead,
			},
			MaxInFlight: cfg.Admission.MaxInFlight, MaxBytes: cfg.Admission.MaxBytesInFlight,
			Margin: margin, Landing: cfg.Idempotency.Landing,
		})
	sweeper := &admission.Sweeper{
		Ledger: db, Finder: finder, Carrier: post, Log: log, Now: deps.Now,
		Landing: cfg.Idempotency.Landing, Every: cfg.Idempotency.Sweep, Found: meters.found,
	}
	graves := dead.New(dead.Deps{
		Ledger: db, Reader: scan.New(deps.Broker), Codec: codec, Names: deps.Broker.Topics(),
		Partitions: deps.Broker.Partitions, Put: post.Put, Log: log, Now: deps.Now,
	})
	deferred, err := intake.New(intake.Deps{
		Broker: deps.Broker, Telemetry: deps.Telemetry, Group: cfg.Groups.Deferred, Lanes: cfg.Lanes.Names(),
		Room: db, Codec: codec, Dead: post.Dead, Wake: releaser.Wake, Gate: deps.Gate,
	})
	if err != nil {
		return nil, err
	}
	warden := broker.NewWarden(deps.Broker, producer, cfg.Lanes.Names(), deps.Ready, log)
	for _, l := range cfg.Lanes.Names() {
		warden.Writes(deps.Broker.Topics().Lane(l))
	}
	deps.Ready.Set("store", false, "not reached yet")
	purge := &purge{store: db, log: log, now: deps.Now, window: cfg.Idempotency.Window, remember: cfg.Waiting.Remember}

	// The door last: a listener that is open is not left behind by an error.
	api := rpcapi.New(rpcapi.Deps{
		Desk: desk, Room: room, List: db, Dead: graves, Lanes: cfg.Lanes, Stats: lanes.read,
		Submitted: meters.submitted, Now: deps.Now,
		StreamWindow: cfg.Admission.StreamWindow, ItemTimeout: rpc.DefaultDeadline,
	})
	server, err := newServer(deps, cfg, api)
	if err != nil {
		return nil, err
	}
	return &Service{server: server, part: app.Join("router",
		db.Part(),
		producer.Part(),
		app.Loop("post", post.Run),
		app.Loop("crowd", crowd.Run),
		app.Loop("desk", desk.Run),
		app.Loop("releaser", releaser.Run),
		app.Loop("intake", warden.After(deferred.Run)),
		warden.Part(),
		app.Loop("store watch", func(ctx context.Context) error { return deps.Ready.Keep(ctx, log, "store", db.Ping) }),
		app.Loop("purge", purge.run),
		app.Loop("sweep", warden.After(sweeper.Run)),
		app.Loop("lanes", warden.After(lanes.run)),
		door(server.Part(), api),
		api.Part(),
	)}, nil
}

// door is the server's part, and what the API leaves behind when it has ended.
func door(server app.Part, api *rpcapi.Server) app.Part {
	stop := server.Stop
	server.Stop = func(ctx context.Context) error {
		err := stop(ctx)
		api.Wait()
		return err
	}
	return server
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
		Service: "router", Telemetry: deps.Telemetry, Auth: auth, Listener: deps.Listener, Ready: deps.Ready,
		OwnItems: []string{routerv1.RouterService_SubmitStream_FullMethodName},
	})
	if err != nil {
		return nil, fmt.Errorf("opening the door: %w", err)
	}
	routerv1.RegisterRouterServiceServer(server, api)
	return server, nil
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

// Part is the router's life. Start returns when it serves; it is ready once
// broker and store answer. Stop refuses new calls, lets those in flight end,
// and flushes.
func (s *Service) Part() app.Part { return s.part }

// Addr is where RouterService listens.
func (s *Service) Addr() net.Addr { return s.server.Addr() }
