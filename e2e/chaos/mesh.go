package chaos

import (
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"kurir.dev/cmd/kurir/mesh"
	"kurir.dev/e2e/harness"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/token"
	"kurir.dev/services/dispatcher"
)

// member is one process of the mesh.
type member struct {
	program string
	args    []string
	ops     string
	proc    *harness.Process // nil before the first start
}

// cluster is the mesh as processes, with wires between them that can be cut.
// It is used by one goroutine.
type cluster struct {
	t       *testing.T
	dir     string
	keyring string
	broker  Broker
	direct  broker.Config // to the broker, past all wires
	members map[string]*member
	wires   map[string]*wire
	doors   map[string]string
}

// newCluster lays out a mesh that sends to the internet and starts it.
func newCluster(t *testing.T, in *internet) *cluster {
	t.Helper()
	data := t.TempDir()
	cfg := mesh.Default(data)
	keyring, tokens := mesh.KeyPaths(data)
	if _, err := seal.LoadOrCreate(keyring); err != nil {
		t.Fatal(err)
	}
	if _, err := token.LoadOrCreate(tokens); err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		t: t, dir: data, keyring: keyring, broker: newBroker(t, data), members: map[string]*member{},
		wires: map[string]*wire{}, doors: map[string]string{}, direct: broker.Default(),
	}
	c.direct.Addrs = c.broker.Addrs()
	for _, name := range services() {
		c.doors[name], c.doors[name+"-ops"] = harness.FreeAddress(t), harness.FreeAddress(t)
	}
	c.doors["tracker-http"] = harness.FreeAddress(t)
	c.lay()
	c.configure(cfg, in, tokens)
	for _, name := range services() {
		c.begin(name)
	}
	return c
}

// lay lays the wires.
func (c *cluster) lay() {
	c.t.Helper()
	for i, name := range wires() {
		_, to, _ := strings.Cut(name, ">")
		var w *wire
		var err error
		if to == brokerName {
			network, address := c.broker.Detour()
			listen := harness.FreeAddress(c.t)
			if network == "unix" {
				listen = filepath.Join(c.dir, "wire"+strconv.Itoa(i))
			}
			w, err = newWire(network, listen, network, address)
		} else {
			w, err = newWire("tcp", harness.FreeAddress(c.t), "tcp", c.doors[to])
		}
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(w.close)
		c.wires[name] = w
	}
}

// configure writes a configuration file for each service.
func (c *cluster) configure(cfg mesh.Config, in *internet, tokens string) {
	c.t.Helper()
	cfg.Telemetry.Log.Level = "warn"
	lanes := lane.Default()
	for i := range lanes {
		lanes[i].Ladder = []time.Duration{300 * time.Millisecond, time.Second, 2 * time.Second}
		lanes[i].MinExpiry = time.Second
	}
	cfg.Composer.Lanes, cfg.Router.Lanes, cfg.Dispatcher.LaneTable = lanes, lanes, lanes
	cfg.Composer.PublicURL = "http://" + c.doors["tracker-http"]
	cfg.Tracker.HTTP.Listen = c.doors["tracker-http"]

	d := &cfg.Dispatcher
	d.Lease = dispatcher.Lease{Session: session, Heartbeat: 500 * time.Millisecond, Rebalance: 6 * time.Second, Drain: 3 * time.Second}
	d.Routes = []dispatcher.Route{{Type: dispatcher.RouteMX}}
	d.DNS.Servers, d.DNS.Timeout = []string{in.dns.Addr()}, time.Second
	port, _ := strconv.Atoi(in.port)
	d.SMTP.Port, d.SMTP.AllowLoopback, d.SMTP.TLS, d.SMTP.Idle = port, true, false, time.Second
	d.Sandbox.SMTPListen, d.Sandbox.PageListen = net.JoinHostPort("127.0.0.1", "0"), ""

	peer := func(from string) map[string]any {
		return map[string]any{"peers": map[string]any{router: map[string]any{"target": c.wires[from+">"+router].addr()}}}
	}
	c.write(composer, composer+"d", cfg.Composer, peer(composer), map[string]any{"telemetry": cfg.Telemetry, "tokens": tokens})
	c.write(tracker, tracker+"d", cfg.Tracker, peer(tracker), map[string]any{"telemetry": cfg.Telemetry, "tokens": tokens})
	c.write(router, router+"d", cfg.Router, nil, map[string]any{"telemetry": cfg.Telemetry})
	for _, name := range []string{dispatcher1, dispatcher2} {
		d.SMTP.EHLO = name + ".kurir.example"
		c.write(name, "dispatcherd", cfg.Dispatcher, nil, map[string]any{"telemetry": cfg.Telemetry})
	}
}

// write writes the configuration of a service: its own, and the keys that
// processes have beside it.
func (c *cluster) write(name, program string, own any, more ...map[string]any) {
	c.t.Helper()
	whole := map[string]any{}
	text, err := yaml.Marshal(own)
	if err == nil {
		err = yaml.Unmarshal(text, &whole)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range more {
		maps.Copy(whole, m)
	}
	if w, ok := c.wires[name+">"+brokerName]; ok {
		whole["broker"] = map[string]any{"addrs": []string{c.broker.Through(w.addr())}}
		whole["keyring"] = c.keyring
	}
	if grpc, ok := whole["grpc"].(map[string]any); ok {
		grpc["listen"] = c.doors[name]
	}
	whole["ops"] = c.doors[name+"-ops"]
	if text, err = yaml.Marshal(whole); err != nil {
		c.t.Fatal(err)
	}
	path := filepath.Join(c.dir, name+".yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.members[name] = &member{program: program, args: []string{"-config", path}, ops: c.doors[name+"-ops"]}
}

// begin starts a process and does not wait for it.
func (c *cluster) begin(name string) {
	c.t.Helper()
	if name == brokerName {
		c.broker.Start()
		return
	}
	m := c.members[name]
	m.proc = harness.Spawn(c.t, m.program, m.args)
}

// kill ends a process as kill -9 does.
func (c *cluster) kill(name string) {
	if name == brokerName {
		c.broker.Kill()
		return
	}
	c.members[name].proc.Kill()
}

// strike begins a fault.
func (c *cluster) strike(f Fault) {
	c.t.Helper()
	switch {
	case f.Act.cuts():
		c.wires[f.Target].cut(f.Act)
	case f.Act == Freeze:
		if err := c.members[f.Target].proc.Signal(syscall.SIGSTOP); err != nil {
			c.t.Errorf("freezing %s: %v", f.Target, err)
		}
	case f.Act == Restart:
		c.broker.Stop()
	default:
		for target := range strings.SplitSeq(f.Target, "+") {
			c.kill(target)
		}
	}
}

// undo ends a fault.
func (c *cluster) undo(f Fault) {
	c.t.Helper()
	switch {
	case f.Act.cuts():
		if err := c.wires[f.Target].heal(); err != nil {
			c.t.Fatal(err)
		}
	case f.Act == Freeze:
		if err := c.members[f.Target].proc.Signal(syscall.SIGCONT); err != nil {
			c.t.Errorf("%s did not outlive its freeze: %v\n%s", f.Target, err, c.members[f.Target].proc.Stderr())
		}
	default:
		for target := range strings.SplitSeq(f.Target, "+") {
			c.begin(target)
		}
	}
}

// unready is why a process cannot do its work; nil when it can.
func (c *cluster) unready(ctx context.Context, name string) error {
	m := c.members[name]
	if m.proc.Ended() {
		return errors.New("it ended:\n" + m.proc.Stderr())
	}
	_, err := page(ctx, "http://"+m.ops+"/readyz")
	return err
}

// stop stops all in good order; a process that does not stop, or says that
// something went wrong, fails the test.
func (c *cluster) stop() {
	c.t.Helper()
	for _, name := range slices.Backward(services()) {
		proc := c.members[name].proc
		proc.Terminate(c.t)
		if status := proc.Status(c.t); status != 0 {
			c.t.Errorf("%s stopped with status %d:\n%s", name, status, tail(proc.Stderr()))
		}
	}
	c.broker.Stop()
}
