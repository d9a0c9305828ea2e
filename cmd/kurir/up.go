package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"kurir.dev/cmd/kurir/demo"
	"kurir.dev/cmd/kurir/mesh"
	"kurir.dev/kit/app"
	"kurir.dev/kit/broker/embedded"
	"kurir.dev/kit/conf"
	"kurir.dev/kit/telemetry"
)

// upCommand runs the whole mesh until it is told to stop.
type upCommand struct {
	Data   string `help:"Directory of everything that is kept." default:"kurir-data"`
	Config string `help:"YAML file with what differs from the defaults." type:"existingfile"`
	Check  bool   `help:"Check the configuration and exit."`
	Print  bool   `help:"Print the effective configuration, secrets hidden, and exit."`
}

// Run runs the mesh.
func (u *upCommand) Run(ctx context.Context, w io.Writer) error {
	cfg := mesh.Default(u.Data)
	if err := conf.Load(u.Config, os.Environ(), "KURIR", &cfg); err != nil {
		return err
	}
	if u.Print {
		return conf.Print(w, cfg)
	}
	if u.Check {
		return nil
	}
	m, err := mesh.New(ctx, cfg)
	if err != nil {
		return err
	}
	return m.Run(ctx, func(ctx context.Context) error {
		fmt.Fprint(w, `
Kurir is up. Nothing leaves this machine: mail goes to the sandbox inbox.

`)
		for _, door := range m.Doors() {
			fmt.Fprintf(w, "  %-14s %s\n", door.Name, door.Addr)
		}
		fmt.Fprintf(w, `
  kurir send otp --to sari@example.com --code 482913
  kurir watch

`)
		<-ctx.Done()
		return nil
	})
}

// demoCommand runs the demonstration.
type demoCommand struct {
	Bulk   int    `help:"Bulk mails in the flood." default:"20000"`
	OTP    int    `help:"OTPs sent while idle, and again in the flood." default:"200" name:"otp"`
	JSON   bool   `help:"Print one JSON object instead." name:"json"`
	Log    string `help:"Log level of the services." default:"error" enum:"debug,info,warn,error"`
	Traces string `help:"OTLP/gRPC collector for the traces, such as a Jaeger's host:4317." placeholder:"HOST:PORT"`
}

// errBroken ends the demonstration with status 1.
var errBroken = fmt.Errorf("mail was lost or sent twice")

// Run runs the demonstration and prints what it showed.
func (d *demoCommand) Run(ctx context.Context, w io.Writer) error {
	if d.Bulk < 0 || d.OTP < 1 {
		return fmt.Errorf("--bulk must not be negative and --otp at least 1")
	}
	opts := demo.Options{Bulk: d.Bulk, OTP: d.OTP, LogLevel: d.Log, TraceEndpoint: d.Traces}
	if !d.JSON {
		opts.Out = w
		if info, err := os.Stdout.Stat(); err == nil {
			opts.Live = info.Mode()&os.ModeCharDevice != 0
		}
	}
	result, err := demo.Run(ctx, opts)
	if err != nil {
		return err
	}
	show := result.Print
	if d.JSON {
		show = result.JSON
	}
	if err := show(w); err != nil {
		return err
	}
	if !result.OK() {
		return errBroken
	}
	return nil
}

// brokerCommand runs the embedded broker alone.
type brokerCommand struct {
	Data string `help:"Data directory of the mesh." default:"kurir-data"`
	Ops  string `help:"Address of its metrics and health; empty serves none." default:""`
}

// Run runs the broker until it is told to stop.
func (b *brokerCommand) Run(ctx context.Context) error {
	t, err := telemetry.New(ctx, "broker", app.Version(), telemetry.Default())
	if err != nil {
		return fmt.Errorf("starting telemetry: %w", err)
	}
	cfg := embedded.Config{Dir: filepath.Join(b.Data, "kafka"), Sync: true}
	e, err := embedded.Start(ctx, cfg, t.Log)
	if err != nil {
		return err
	}
	t.Log.InfoContext(ctx, "broker listening", slog.String("addr", e.Addr()))
	ready := app.NewReady()
	return app.Run(ctx, t.Log, drain, e.Part(), app.Ops(b.Ops, t, ready, func(out io.Writer) error { return conf.Print(out, cfg) }))
}
