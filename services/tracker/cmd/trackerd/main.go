// Command trackerd is Kurir's tracker as a process of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/conf"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/token"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/tracker"
)

func main() { app.Main("trackerd", run) }

func run(ctx context.Context, args []string) (err error) {
	cfg := defaults()
	program := conf.Program{Name: "trackerd", Version: app.Version(), Env: "KURIR_TRACKER"}
	if work, err := conf.Boot(os.Stdout, program, args, &cfg, &cfg.GRPC.Listen); err != nil || !work {
		return err
	}
	show := func(w io.Writer) error { return conf.Print(w, cfg) }

	tel, err := telemetry.New(ctx, "tracker", app.Version(), cfg.Telemetry)
	if err != nil {
		return fmt.Errorf("starting telemetry: %w", err)
	}
	defer func() { err = errors.Join(err, tel.Shutdown(context.WithoutCancel(ctx))) }()
	keys, err := seal.Load(cfg.Keyring)
	if err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	tokens, err := token.LoadRing(cfg.Tokens)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	client, err := broker.Dial(cfg.Broker, tel)
	if err != nil {
		return fmt.Errorf("dialling the broker: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	router, err := rpc.Dial(cfg.Peers.Router, rpc.ClientDeps{Telemetry: tel})
	if err != nil {
		return fmt.Errorf("dialling the router: %w", err)
	}
	defer func() { err = errors.Join(err, router.Close()) }()

	ready := app.NewReady()
	svc, err := tracker.New(ctx, tracker.Deps{
		Telemetry: tel, Broker: client, Keyring: keys, Tokens: tokens, Ready: ready,
		Router: routerv1.NewRouterServiceClient(router),
	}, cfg.Config)
	if err != nil {
		return err
	}
	return app.Run(ctx, tel.Log, cfg.Drain, app.Ops(cfg.Ops, tel, ready, show), svc.Part())
}
