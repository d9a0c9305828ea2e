package demo

import (
	"context"
	"fmt"

	"kurir.dev/cmd/kurir/mesh"
	"kurir.dev/kit/app"
	"kurir.dev/services/dispatcher"
)

// config is the default mesh, but for where it listens and where mail goes: to
// the MX hosts that the demonstration's DNS names.
func config(ctx context.Context, data string, net *internet, opts Options) (mesh.Config, error) {
	c := mesh.Default(data)
	c.Ops = mesh.Ops{}
	c.Telemetry.Log.Level, c.Telemetry.Log.Format = opts.LogLevel, "text"
	if c.Telemetry.Log.Level == "" {
		c.Telemetry.Log.Level = "error"
	}
	c.Telemetry.Traces.Endpoint, c.Telemetry.Traces.Insecure = opts.TraceEndpoint, true

	public, err := freeAddress(ctx)
	if err != nil {
		return c, err
	}
	// Without an address a service listens in memory.
	c.Composer.GRPC.Listen, c.Router.GRPC.Listen, c.Dispatcher.GRPC.Listen, c.Tracker.GRPC.Listen = "", "", "", ""
	c.Composer.PublicURL = "http://" + public
	c.Tracker.HTTP.Listen = public
	c.Tracker.Hits.TooFast = 0 // the reader of the demonstration is quick

	c.Dispatcher.Routes = []dispatcher.Route{{Type: dispatcher.RouteMX}}
	c.Dispatcher.DNS.Servers = []string{net.dns.Addr()}
	c.Dispatcher.SMTP.Port = net.port()
	c.Dispatcher.SMTP.AllowLoopback = true
	c.Dispatcher.SMTP.EHLO = "kurir.example"
	return c, nil
}

// freeAddress returns an address of loopback that was free a moment ago.
func freeAddress(ctx context.Context) (string, error) {
	l, err := app.Listen(ctx, "127.0.0.1:0", "")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
