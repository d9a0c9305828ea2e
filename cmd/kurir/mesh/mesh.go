// Package mesh runs the whole of Kurir in one process: the embedded broker and
// the four services, made by the same constructors as their own programs and
// speaking the same gRPC, over in-memory listeners where no address is given.
package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker/embedded"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/token"
	dispatcherv1 "kurir.dev/proto/gen/kurir/dispatcher/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// drain bounds the stop of the whole mesh: more than the longest drain of a
// service, the dispatcher's 45 s.
const drain = 60 * time.Second

// Mesh is all of Kurir in one process.
type Mesh struct {
	cfg       Config
	unlock    func() error // the data directory; nil while it is not locked
	telemetry *telemetry.Telemetry
	keyring   *seal.Keyring
	tokens    *token.Ring
	embedded  *embedded.Broker
	gate      *gate.Gate // one for all services: they share the processors
	units     []*unit    // in start order
	options   []telemetry.Option

	mu    sync.Mutex
	conns []*grpc.ClientConn // guarded by mu
}

// New opens the data directory and the broker and makes the four services,
// which Run starts. opts are added to every service's telemetry.
func New(ctx context.Context, cfg Config, opts ...telemetry.Option) (_ *Mesh, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	m := &Mesh{cfg: cfg, options: opts}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close(context.WithoutCancel(ctx)))
		}
	}()
	if m.telemetry, err = telemetry.New(ctx, "kurir", app.Version(), cfg.Telemetry, opts...); err != nil {
		return nil, fmt.Errorf("starting telemetry: %w", err)
	}
	m.gate = gate.New(cfg.Router.Gate, cfg.Router.Lanes)
	if err := m.gate.Measure(m.telemetry.Meter("kurir.dev/kit/gate")); err != nil {
		return nil, err
	}
	if err := m.open(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if len(cfg.Broker.Addrs) == 0 {
		if err := m.embed(ctx); err != nil {
			return nil, err
		}
	}
	m.units = m.services()
	for _, u := range m.units {
		if err := u.make(ctx); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// open makes the data directory, takes it for this process alone, and reads the
// keys in it.
func (m *Mesh) open() (err error) {
	if m.unlock, err = app.Lock(m.cfg.Data); err != nil {
		return err
	}
	keyring, tokens := KeyPaths(m.cfg.Data)
	if m.keyring, err = seal.LoadOrCreate(keyring); err != nil {
		return err
	}
	m.tokens, err = token.LoadOrCreate(tokens)
	return err
}

// KeyPaths are the files of the keys in a data directory: the keyring that
// seals records, and the ring that signs links.
func KeyPaths(data string) (keyring, tokens string) {
	return filepath.Join(data, "keyring.json"), filepath.Join(data, "tokens")
}

// embed starts the embedded broker and points the services at it.
func (m *Mesh) embed(ctx context.Context) (err error) {
	cfg := embedded.Config{Dir: filepath.Join(m.cfg.Data, "kafka"), TCP: m.cfg.BrokerTCP, Sync: true}
	if m.embedded, err = embedded.Start(ctx, cfg, m.telemetry.Log); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	m.cfg.Broker.Addrs = []string{m.embedded.Addr()}
	return nil
}

// Run starts the services, calls work, and stops them when work returns or ctx
// is done. The mesh cannot be used again.
func (m *Mesh) Run(ctx context.Context, work func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var result error
	parts := make([]app.Part, 0, len(m.units)+2)
	for _, u := range m.units {
		parts = append(parts, u.lasting())
	}
	parts = append(parts, m.readiness(), app.Loop("work", func(ctx context.Context) error {
		defer cancel()
		result = work(ctx)
		return nil
	}))
	err := app.Run(ctx, m.telemetry.Log, drain, parts...)
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer stop()
	return errors.Join(result, err, m.close(closing))
}

// readiness waits until every service is ready.
func (m *Mesh) readiness() app.Part {
	return app.Part{Name: "readiness", Start: func(ctx context.Context) error {
		for _, u := range m.units {
			if err := u.wait(ctx); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Restart stops the named service as a signal would and starts it anew, while
// the others go on. It is for tests of what a restart costs.
func (m *Mesh) Restart(ctx context.Context, name string) error {
	for _, u := range m.units {
		if u.name == name {
			return u.restart(ctx)
		}
	}
	return fmt.Errorf("no service is called %q", name)
}

// Door is something that listens.
type Door struct{ Name, Addr string }

// Doors are where the services listen on the network, in start order.
func (m *Mesh) Doors() []Door {
	var doors []Door
	for _, u := range m.units {
		if u.listen != "" {
			doors = append(doors, Door{u.name, u.listen})
		}
		if u.doors != nil {
			doors = append(doors, u.doors()...)
		}
		if u.ops != "" {
			doors = append(doors, Door{u.name + " ops", "http://" + u.ops})
		}
	}
	return doors
}

// Log is the mesh's own logger.
func (m *Mesh) Log() *slog.Logger { return m.telemetry.Log }

// Tracer makes spans in the name of a product that calls the mesh.
func (m *Mesh) Tracer() trace.Tracer { return m.telemetry.Tracer("kurir.dev/cmd/kurir") }

// Mail is a client of composer.
func (m *Mesh) Mail() mailv1.MailServiceClient {
	return mailv1.NewMailServiceClient(m.conn("composer"))
}

// Router is a client of router.
func (m *Mesh) Router() routerv1.RouterServiceClient {
	return routerv1.NewRouterServiceClient(m.conn("router"))
}

// Dispatcher is a client of dispatcher.
func (m *Mesh) Dispatcher() dispatcherv1.DispatcherServiceClient {
	return dispatcherv1.NewDispatcherServiceClient(m.conn("dispatcher"))
}

// Tracker is a client of tracker.
func (m *Mesh) Tracker() trackerv1.TrackerServiceClient {
	return trackerv1.NewTrackerServiceClient(m.conn("tracker"))
}

// conn connects to the named service through its door.
func (m *Mesh) conn(name string) *grpc.ClientConn {
	for _, u := range m.units {
		if u.name != name {
			continue
		}
		conn, err := u.dial(m.telemetry)
		if err != nil {
			panic(fmt.Sprintf("mesh: dialing %s: %v", name, err)) // only a target that does not parse fails
		}
		m.keep(conn)
		return conn
	}
	panic("mesh: no service " + name)
}

// close lets go of everything that New opened and Run does not stop itself.
func (m *Mesh) close(ctx context.Context) error {
	var faults []error
	for _, c := range m.conns {
		faults = append(faults, c.Close())
	}
	for _, u := range m.units {
		faults = append(faults, u.close(ctx))
	}
	if m.embedded != nil {
		faults = append(faults, m.embedded.Close(ctx))
	}
	if m.telemetry != nil {
		faults = append(faults, m.telemetry.Shutdown(ctx))
	}
	if m.unlock != nil {
		faults = append(faults, m.unlock())
	}
	return errors.Join(faults...)
}
