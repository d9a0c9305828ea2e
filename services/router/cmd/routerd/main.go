// Routerd is Kurir's router as a process of its own.
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
	"kurir.dev/services/router"
)

func main() { app.Main("routerd", run) }

func run(ctx context.Context, args []string) (err error) {
	opts, err := conf.Flags("routerd", args)
	if err != nil {
		return err
	}
	if opts.Version {
		_, err := fmt.Fprintln(os.Stdout, "routerd", app.Version())
		return err
	}
	cfg := defaults()
	if err := conf.Load(opts.Config, os.Environ(), "KURIR_ROUTER", &cfg); err != nil {
		return err
	}
	if opts.Listen != "" {
		cfg.GRPC.Listen = opts.Listen
	}
	show := func(w io.Writer) error { return conf.Print(w, cfg) }
	switch {
	case opts.Print:
		return show(os.Stdout)
	case opts.Check:
		_, err := fmt.Fprintln(os.Stdout, "the configuration is good")
		return err
	}

	tel, err := telemetry.New(ctx, "router", app.Version(), cfg.Telemetry)
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
	svc, err := router.New(ctx, router.Deps{Telemetry: tel, Broker: client, Keyring: keys, Ready: ready}, cfg.Config)
	if err != nil {
		return err
	}
	return app.Run(ctx, tel.Log, cfg.Drain, app.Ops(cfg.Ops, tel, ready, show), svc.Part())
}
