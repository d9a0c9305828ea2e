package mesh

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"kurir.dev/kit/app"
	"kurir.dev/kit/telemetry"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/composer"
	"kurir.dev/services/dispatcher"
	"kurir.dev/services/router"
	"kurir.dev/services/tracker"
)

// services are the four services in start order: who takes in comes before who
// hands out, so that a stop, in reverse, closes the door first and lets what is
// inside flow out.
func (m *Mesh) services() []*unit {
	trackers := &unit{name: "tracker", listen: m.cfg.Tracker.GRPC.Listen, ops: m.cfg.Ops.Tracker, config: m.cfg.Tracker}
	routers := &unit{name: "router", listen: m.cfg.Router.GRPC.Listen, ops: m.cfg.Ops.Router, config: m.cfg.Router}
	dispatchers := &unit{name: "dispatcher", listen: m.cfg.Dispatcher.GRPC.Listen, ops: m.cfg.Ops.Dispatcher, config: m.cfg.Dispatcher}
	composers := &unit{name: "composer", listen: m.cfg.Composer.GRPC.Listen, ops: m.cfg.Ops.Composer, config: m.cfg.Composer}

	trackers.build = func(ctx context.Context, w wiring) (app.Part, error) {
		peer, err := m.routerOf(routers, w)
		if err != nil {
			return app.Part{}, err
		}
		s, err := tracker.New(ctx, tracker.Deps{
			Telemetry: w.telemetry, Listener: w.listener, Broker: w.broker, Keyring: m.keyring, Tokens: m.tokens,
			Router: peer, Gate: m.gate, Ready: w.ready,
		}, m.cfg.Tracker)
		if err != nil {
			return app.Part{}, err
		}
		m.cfg.Tracker.HTTP.Listen = s.HTTPAddr().String() // a port the system chose stays over a restart
		trackers.doors = func() []Door { return []Door{{"pixel and links", "http://" + s.HTTPAddr().String()}} }
		return s.Part(), nil
	}
	routers.build = func(ctx context.Context, w wiring) (app.Part, error) {
		s, err := router.New(ctx, router.Deps{
			Telemetry: w.telemetry, Listener: w.listener, Broker: w.broker, Keyring: m.keyring, Gate: m.gate, Ready: w.ready,
		}, m.cfg.Router)
		if err != nil {
			return app.Part{}, err
		}
		return s.Part(), m.measure(w)
	}
	dispatchers.build = func(ctx context.Context, w wiring) (app.Part, error) {
		s, err := dispatcher.New(ctx, dispatcher.Deps{
			Telemetry: w.telemetry, Listener: w.listener, Broker: w.broker, Keyring: m.keyring, Gate: m.gate, Ready: w.ready,
		}, m.cfg.Dispatcher)
		if err != nil {
			return app.Part{}, err
		}
		dispatchers.doors = func() []Door {
			if page := s.SandboxPageAddr(); page != nil {
				return []Door{{"sandbox inbox", "http://" + page.String()}}
			}
			return nil
		}
		return s.Part(), nil
	}
	composers.build = func(ctx context.Context, w wiring) (app.Part, error) {
		peer, err := m.routerOf(routers, w)
		if err != nil {
			return app.Part{}, err
		}
		s, err := composer.New(ctx, composer.Deps{
			Telemetry: w.telemetry, Listener: w.listener, Router: peer, Tokens: m.tokens, Gate: m.gate, Ready: w.ready,
		}, m.cfg.Composer)
		if err != nil {
			return app.Part{}, err
		}
		return s.Part(), nil
	}
	units := []*unit{trackers, routers, dispatchers, composers}
	for _, u := range units {
		u.telemetry = m.observe
		if u != composers {
			u.broker = &m.cfg.Broker
		}
	}
	return units
}

// routerOf is a client of router for the service that w belongs to.
func (m *Mesh) routerOf(routers *unit, w wiring) (routerv1.RouterServiceClient, error) {
	conn, err := routers.dial(w.telemetry)
	if err != nil {
		return nil, fmt.Errorf("dialing router: %w", err)
	}
	m.keep(conn)
	return routerv1.NewRouterServiceClient(conn), nil
}

// measure has a service's metrics tell of the embedded broker, if there is one.
func (m *Mesh) measure(w wiring) error {
	if m.embedded == nil {
		return nil
	}
	return m.embedded.Measure(w.telemetry.Meter("kurir.dev/kit/broker/embedded"))
}

// keep has conn closed at the end.
func (m *Mesh) keep(conn *grpc.ClientConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = append(m.conns, conn)
}

// observe is the telemetry of one service, under its own name.
func (m *Mesh) observe(ctx context.Context, name string) (*telemetry.Telemetry, error) {
	return telemetry.New(ctx, name, app.Version(), m.cfg.Telemetry, m.options...)
}
