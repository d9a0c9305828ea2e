// Command dispatcherd is Kurir's dispatcher as a process of its own.
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
	"kurir.dev/kit/seal"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/dispatcher"
)

func main() { app.Main("dispatcherd", run) }

func run(ctx context.Context, args []string) (err error) {
	cfg := defaults()
	program := conf.Program{Name: "dispatcherd", Version: app.Version(), Env: "KURIR_DISPATCHER"}
	if work, err := conf.Boot(os.Stdout, program, args, &cfg, &cfg.GRPC.Listen); err != nil || !work {
		return err
	}
	show := func(w io.Writer) error { return conf.Print(w, cfg) }

	tel, err := telemetry.New(ctx, "dispatcher", app.Version(), cfg.Telemetry)
	if err != nil {
		return fmt.Errorf("starting telemetry: %w", err)
	}
	defer func() { err = errors.Join(err, tel.Shutdown(context.WithoutCancel(ctx))) }()
	keys, err := seal.Load(cfg.Keyring)
	if err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	client, err := broker.Dial(cfg.Broker, tel)
	if err != nil {
		return fmt.Errorf("dialling the broker: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()

	ready := app.NewReady()
	svc, err := dispatcher.New(ctx, dispatcher.Deps{Telemetry: tel, Broker: client, Keyring: keys, Ready: ready}, cfg.Config)
	if err != nil {
		return err
	}
	return app.Run(ctx, tel.Log, cfg.Drain, app.Ops(cfg.Ops, tel, ready, show), svc.Part())
}
