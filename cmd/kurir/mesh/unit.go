package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"google.golang.org/grpc"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/conf"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
)

// unit is one service with what it is made of, so that it can be made again.
// Its methods are called by one goroutine at a time, but for dial.
type unit struct {
	name      string
	listen    string // gRPC address; empty listens in memory
	ops       string // address of its ops page; empty for none
	config    any    // for the ops page
	telemetry func(ctx context.Context, name string) (*telemetry.Telemetry, error)
	broker    *broker.Config // nil for a service without one
	doors     func() []Door  // where it listens beside gRPC and ops; nil for nowhere
	build     func(ctx context.Context, w wiring) (app.Part, error)

	mu   sync.Mutex
	door net.Listener // guarded by mu

	life   wiring
	part   app.Part      // of this life
	over   chan struct{} // closed at the end of it
	failed chan error    // of all lives
}

// wiring is what one life of a service is given.
type wiring struct {
	telemetry *telemetry.Telemetry
	broker    *broker.Client
	listener  net.Listener
	ready     *app.Ready
}

// make builds the service; its doors are open when it returns.
func (u *unit) make(ctx context.Context) (err error) {
	w := wiring{ready: app.NewReady()}
	defer func() {
		u.life = w
		if err != nil {
			err = fmt.Errorf("%s: %w", u.name, err)
		}
	}()
	if w.telemetry, err = u.telemetry(ctx, u.name); err != nil {
		return fmt.Errorf("starting telemetry: %w", err)
	}
	if u.broker != nil {
		if w.broker, err = broker.Dial(*u.broker, w.telemetry); err != nil {
			return fmt.Errorf("dialing the broker: %w", err)
		}
	}
	if w.listener, err = u.open(ctx); err != nil {
		return err
	}
	service, err := u.build(ctx, w)
	if err != nil {
		return err
	}
	ops := app.Ops(u.ops, w.telemetry, w.ready, func(out io.Writer) error { return conf.Print(out, u.config) })
	u.part = app.Join(u.name, hinted(ops, "choose another for ops."+u.name), service)
	return nil
}

// hinted gives the hint with an address that p cannot listen on.
func hinted(p app.Part, hint string) app.Part {
	start := p.Start
	if start == nil {
		return p
	}
	p.Start = func(ctx context.Context) error {
		err := start(ctx)
		if taken, ok := errors.AsType[*app.ListenError](err); ok {
			taken.Hint = hint
		}
		return err
	}
	return p
}

// open opens the unit's gRPC door.
func (u *unit) open(ctx context.Context) (net.Listener, error) {
	var door net.Listener = rpc.Memory()
	if u.listen != "" {
		var err error
		if door, err = app.Listen(ctx, u.listen, "choose another for "+u.name+".grpc.listen"); err != nil {
			return nil, err
		}
		u.listen = door.Addr().String() // a port the system chose stays over a restart
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.door = door
	return door, nil
}

// lasting is the unit as a part of the mesh, over all its lives.
func (u *unit) lasting() app.Part {
	u.failed = make(chan error, 1)
	return app.Part{Name: u.name, Start: u.start, Stop: u.stop, Failed: u.failed}
}

func (u *unit) start(ctx context.Context) error {
	if err := u.part.Start(ctx); err != nil {
		return err
	}
	u.over = make(chan struct{})
	go u.watch(u.part, u.over)
	return nil
}

// watch passes a failure of p on, until the unit's life is over.
func (u *unit) watch(p app.Part, over <-chan struct{}) {
	select {
	case err := <-p.Failed:
		select {
		case u.failed <- err:
		default: // one failure stops the mesh
		}
	case <-over:
	}
}

func (u *unit) stop(ctx context.Context) error {
	close(u.over)
	return u.part.Stop(ctx)
}

// wait returns when the service can do its work.
func (u *unit) wait(ctx context.Context) error {
	for {
		changed := u.life.ready.Changed()
		ok, why := u.life.ready.OK()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready: %s", u.name, why)
		}
	}
}

// restart ends this life of the service and begins another.
func (u *unit) restart(ctx context.Context) error {
	if err := errors.Join(u.stop(ctx), u.close(ctx)); err != nil {
		return fmt.Errorf("stopping %s: %w", u.name, err)
	}
	if err := u.make(ctx); err != nil {
		return err
	}
	return errors.Join(u.start(ctx), u.wait(ctx))
}

// close lets go of what make opened and the service does not close itself.
func (u *unit) close(ctx context.Context) error {
	var faults []error
	u.mu.Lock()
	door := u.door
	u.mu.Unlock()
	if door != nil {
		_ = door.Close() // closed already by a service that ran
	}
	if u.life.broker != nil {
		faults = append(faults, u.life.broker.Close())
	}
	if u.life.telemetry != nil {
		faults = append(faults, u.life.telemetry.Shutdown(ctx))
	}
	u.life = wiring{}
	return errors.Join(faults...)
}

// dial connects to the service, in whichever life it is.
func (u *unit) dial(t *telemetry.Telemetry) (*grpc.ClientConn, error) {
	return rpc.Dial(rpc.ClientConfig{Target: "passthrough:///" + u.name}, rpc.ClientDeps{
		Telemetry: t,
		Dialer: func(ctx context.Context, _ string) (net.Conn, error) {
			u.mu.Lock()
			door := u.door
			u.mu.Unlock()
			if memory, ok := door.(*rpc.MemoryListener); ok {
				return memory.DialContext(ctx, u.name)
			}
			var d net.Dialer
			return d.DialContext(ctx, "tcp", door.Addr().String())
		},
	})
}
