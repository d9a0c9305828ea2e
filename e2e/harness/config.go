package harness

import (
	"net"
	"slices"
	"time"

	"kurir.dev/cmd/kurir/mesh"
	"kurir.dev/kit/lane"
	"kurir.dev/services/dispatcher"
)

// Options are what a scenario may want of its mesh.
type Options struct {
	// TraceEndpoint is an OTLP/gRPC collector; empty exports nothing.
	TraceEndpoint string
	// DKIM is a directory for signing keys of kurir.example, made at the start;
	// empty signs nothing.
	DKIM string
	// Processes runs the mesh as processes, whatever the flag -runner says.
	Processes bool
	// OwnBroker gives the mesh an Apache Kafka of its own, for scenarios that do
	// something to the broker; otherwise meshes share one. The embedded broker
	// is always the mesh's own.
	OwnBroker bool
	// Nodes is how many nodes the broker has when it is Apache Kafka, which is
	// then the mesh's own; 0 means one. With three, records have three replicas.
	Nodes int
	// Without names processes that are not started; the others are then not
	// waited for.
	Without []string
}

// config is the default mesh with doors of its own, mail by MX of the
// scenario's DNS, and ladders that climb in milliseconds.
func config(data, nameServer string, port int, doors map[string]string, opts Options) mesh.Config {
	c := mesh.Default(data)
	c.Ops = mesh.Ops{}
	c.Telemetry.Log.Level, c.Telemetry.Log.Format = "warn", "text"
	c.Telemetry.Traces.Endpoint, c.Telemetry.Traces.Insecure = opts.TraceEndpoint, true

	c.Composer.GRPC.Listen, c.Router.GRPC.Listen = doors["composer"], doors["router"]
	c.Dispatcher.GRPC.Listen, c.Tracker.GRPC.Listen = doors["dispatcher"], doors["tracker"]
	c.Tracker.HTTP.Listen = doors["tracker-http"]
	c.Composer.PublicURL = "http://" + doors["tracker-http"]
	c.Tracker.Hits.TooFast = 0

	lanes := lane.Default()
	for i := range lanes {
		lanes[i].Ladder = []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Second}
		lanes[i].MinExpiry = min(lanes[i].MinExpiry, time.Second)
	}
	c.Composer.Lanes, c.Router.Lanes, c.Dispatcher.LaneTable = lanes, slices.Clone(lanes), slices.Clone(lanes)

	// A process that was killed is taken over from within seconds.
	c.Dispatcher.Lease = dispatcher.Lease{
		Session: 3 * time.Second, Heartbeat: 500 * time.Millisecond, Rebalance: 6 * time.Second, Drain: 3 * time.Second,
	}
	c.Dispatcher.Routes = []dispatcher.Route{{Type: dispatcher.RouteMX}}
	c.Dispatcher.DNS.Servers = []string{nameServer}
	c.Dispatcher.DNS.Timeout = time.Second
	c.Dispatcher.DNS.MaxTTL = time.Second
	c.Dispatcher.SMTP.Port = port
	c.Dispatcher.SMTP.AllowLoopback = true
	c.Dispatcher.SMTP.EHLO = "kurir.example"
	c.Dispatcher.Sandbox.SMTPListen = net.JoinHostPort("127.0.0.1", "0")
	c.Dispatcher.Sandbox.PageListen = ""
	if opts.DKIM != "" {
		c.Dispatcher.DKIM.Dir, c.Dispatcher.DKIM.Generate = opts.DKIM, true
		c.Dispatcher.DKIM.Domains = []dispatcher.DKIMDomain{{Domain: "kurir.example", SelectorRSA: "r1", SelectorEd25519: "e1"}}
	}
	return c
}
