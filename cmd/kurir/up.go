package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"kurir.dev/cmd/kurir/demo"
	"kurir.dev/cmd/kurir/mesh"
	"kurir.dev/kit/app"
	"kurir.dev/kit/broker/embedded"
	"kurir.dev/kit/conf"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/dispatcher"
)

// upCommand runs the whole mesh until it is told to stop.
type upCommand struct {
	Data   string `help:"Directory of everything that is kept: kurir-data, unless the configuration says otherwise." placeholder:"DIR"`
	Config string `help:"YAML file with what differs from the defaults." placeholder:"FILE"`
	Check  bool   `help:"Check the configuration and exit."`
	Print  bool   `help:"Print the effective configuration, secrets hidden, and exit."`
}

// Run runs the mesh.
func (u *upCommand) Run(ctx context.Context, w io.Writer) error {
	cfg, err := u.load()
	if err != nil {
		return err
	}
	switch {
	case u.Print:
		return conf.Print(w, cfg)
	case u.Check:
		_, err := fmt.Fprintln(w, "the configuration is good")
		return err
	}
	m, err := mesh.New(ctx, cfg)
	if err != nil {
		return err
	}
	return m.Run(ctx, func(ctx context.Context) error {
		if err := greet(w, cfg, m.Doors()); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
}

// load reads the configuration. The flag for the data directory goes before
// the file and the environment, and the stores are in it unless named.
func (u *upCommand) load() (mesh.Config, error) {
	read := func(data string) (mesh.Config, error) {
		cfg := mesh.Default(data)
		err := conf.Load(u.Config, os.Environ(), "KURIR", &cfg)
		return cfg, err
	}
	data := u.Data
	if data == "" {
		cfg, err := read("kurir-data")
		if err != nil || cfg.Data == "kurir-data" {
			return cfg, err
		}
		data = cfg.Data
	}
	cfg, err := read(data)
	cfg.Data = data
	return cfg, err
}

// greet tells where everything is and what to try.
func greet(w io.Writer, cfg mesh.Config, doors []mesh.Door) error {
	where := "No mail leaves this machine: read it in the sandbox inbox."
	if slices.ContainsFunc(cfg.Dispatcher.Routes, func(r dispatcher.Route) bool { return r.Type != dispatcher.RouteSandbox }) {
		where = "Mail leaves by the configured routes."
	}
	fmt.Fprintf(w, "\nKurir is up. %s\n\n", where)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	flags := map[string]string{}
	for _, door := range doors {
		fmt.Fprintf(table, "  %s\t%s\n", door.Name, door.Addr)
		flags[door.Name] = " --" + door.Name + " " + door.Addr
	}
	if err := table.Flush(); err != nil {
		return err
	}
	// The commands know where a mesh listens that was left as it is.
	if usual := mesh.Default(""); cfg.Composer.GRPC.Listen == usual.Composer.GRPC.Listen && cfg.Tracker.GRPC.Listen == usual.Tracker.GRPC.Listen {
		clear(flags)
	}
	_, err := fmt.Fprintf(w, "\nTry:\n\n  kurir send otp --to sari@example.com --code 482913%s\n  kurir watch%s\n\n",
		flags["composer"], flags["tracker"])
	return err
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
var errBroken = errors.New("mail was lost or sent twice")

// Run runs the demonstration and prints what it showed.
func (d *demoCommand) Run(ctx context.Context, w io.Writer) error {
	if d.Bulk < 0 || d.OTP < 1 {
		return errors.New("--bulk must not be negative and --otp at least 1")
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
	TCP  string `help:"Loopback address for tools such as kcat, as 127.0.0.1:9092; empty for none." default:"" name:"tcp"`
}

// Run runs the broker until it is told to stop.
func (b *brokerCommand) Run(ctx context.Context) (err error) {
	t, err := telemetry.New(ctx, "broker", app.Version(), telemetry.Default())
	if err != nil {
		return fmt.Errorf("starting telemetry: %w", err)
	}
	unlock, err := app.Lock(b.Data) // as a mesh does
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	cfg := embedded.Config{Dir: filepath.Join(b.Data, "kafka"), TCP: b.TCP, Sync: true}
	e, err := embedded.Start(ctx, cfg, t.Log)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if err := e.Measure(t.Meter("kurir.dev/kit/broker/embedded")); err != nil {
		return errors.Join(err, e.Close(ctx))
	}
	t.Log.InfoContext(ctx, "broker listening", slog.String("addr", e.Addr()))
	ready := app.NewReady()
	return app.Run(ctx, t.Log, drain, e.Part(), app.Ops(b.Ops, t, ready, func(out io.Writer) error { return conf.Print(out, cfg) }))
}
