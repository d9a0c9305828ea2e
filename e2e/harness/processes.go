package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"kurir.dev/cmd/kurir/mesh"
	"kurir.dev/kit/broker/brokertest/apache"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/token"
)

// fleet is a mesh of processes: the four services, as their own programs, and
// the broker, which is the embedded one or a cluster of Apache Kafka.
type fleet struct {
	t       *testing.T
	dir     string
	members map[string]*member
}

// member is one process of the fleet and how to start it again.
type member struct {
	program string
	args    []string
	ready   string          // URL that answers 200 when it can do its work
	proc    *Process        // nil while it is not to run
	cluster *apache.Cluster // instead of a program: Apache Kafka
}

// order is the order in which the fleet starts; it stops in reverse.
var order = []string{"broker", "tracker", "router", "dispatcher", "composer"}

// asProcesses runs the fleet until the end of the test, and waits until it is
// ready unless some members are left out.
func asProcesses(t *testing.T, cfg mesh.Config, doors map[string]string, kafka *apache.Cluster, without ...string) *fleet {
	t.Helper()
	keyring, tokens := mesh.KeyPaths(cfg.Data)
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.LoadOrCreate(keyring); err != nil {
		t.Fatal(err)
	}
	if _, err := token.LoadOrCreate(tokens); err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: cfg.Data, members: map[string]*member{}}
	socket := filepath.Join(cfg.Data, "kafka", "kafka.sock")
	f.members["broker"] = &member{
		program: "kurir", args: []string{"broker", "--data", cfg.Data, "--ops", doors["broker-ops"]},
		ready: "http://" + doors["broker-ops"] + "/readyz",
	}
	broker := map[string]any{"addrs": []string{"unix:" + socket}}
	if len(cfg.Broker.Addrs) > 0 {
		broker = map[string]any{"addrs": cfg.Broker.Addrs, "prefix": cfg.Broker.Prefix, "replication": cfg.Broker.Replication}
		delete(f.members, "broker")
	}
	if kafka != nil {
		f.members["broker"] = &member{cluster: kafka}
		if slices.Contains(without, "broker") {
			kafka.Kill(1)
		}
	}
	shared := map[string]any{
		"telemetry": cfg.Telemetry,
		"broker":    broker,
		"keyring":   keyring,
		"tokens":    tokens,
	}
	router := map[string]any{"peers": map[string]any{"router": map[string]any{"target": doors["router"]}}}
	f.service("tracker", cfg.Tracker, shared, doors, router, "telemetry", "broker", "keyring", "tokens")
	f.service("router", cfg.Router, shared, doors, nil, "telemetry", "broker", "keyring")
	f.service("dispatcher", cfg.Dispatcher, shared, doors, nil, "telemetry", "broker", "keyring")
	f.service("composer", cfg.Composer, shared, doors, router, "telemetry", "tokens")

	t.Cleanup(f.end)
	for _, name := range order {
		if m := f.members[name]; m != nil && m.cluster == nil && !slices.Contains(without, name) {
			f.start(name)
		}
	}
	if len(without) == 0 {
		for _, name := range order {
			f.wait(name)
		}
	}
	return f
}

// service writes the configuration of a service from its own struct, the
// shared keys named, and its peers.
func (f *fleet) service(name string, own any, shared map[string]any, doors map[string]string, peers map[string]any, keys ...string) {
	f.t.Helper()
	whole := map[string]any{}
	text, err := yaml.Marshal(own)
	if err == nil {
		err = yaml.Unmarshal(text, &whole)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	for _, key := range keys {
		whole[key] = shared[key]
	}
	maps.Copy(whole, peers)
	whole["ops"] = doors[name+"-ops"]
	text, err = yaml.Marshal(whole)
	if err != nil {
		f.t.Fatal(err)
	}
	path := filepath.Join(f.dir, name+".yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.members[name] = &member{
		program: name + "d", args: []string{"-config", path}, ready: "http://" + doors[name+"-ops"] + "/readyz",
	}
}

func (f *fleet) start(name string) {
	m := f.members[name]
	if m.cluster != nil {
		for _, node := range m.cluster.Nodes() {
			if err := m.cluster.Begin(f.t.Context(), node); err != nil {
				f.t.Fatal(err)
			}
		}
		return
	}
	m.proc = spawn(f.t, m.program, m.args)
}

// wait returns once the process says that it is ready.
func (f *fleet) wait(name string) {
	f.t.Helper()
	m := f.members[name]
	if m == nil || m.cluster != nil {
		return // it was ready when it had started
	}
	Eventually(f.t, func() error {
		if m.proc.Ended() {
			f.t.Fatalf("%s ended: %v\n%s", name, m.proc.err, m.proc.out)
		}
		ready, why, err := readiness(m.ready)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w\n%s", name, err, m.proc.out)
		case !ready:
			return fmt.Errorf("%s is not ready: %s\n%s", name, why, m.proc.out)
		}
		return nil
	})
}

// readiness asks the process with this page whether it can do its work, and if
// not, why.
func readiness(url string) (ready bool, why string, err error) {
	res, err := http.Get(url)
	if err != nil {
		return false, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode == http.StatusOK, strings.TrimSpace(string(text)), err
}

func (f *fleet) restart(ctx context.Context, service string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := f.members[service].proc.terminate(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, f.members[service].proc.out)
	}
	f.start(service)
	f.wait(service)
	return nil
}

// end stops the fleet in good order; a process that does not stop fails the
// test. Of a failed test every process's output is shown.
func (f *fleet) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var faults []error
	for _, name := range slices.Backward(order) {
		m := f.members[name]
		if m == nil || m.proc == nil {
			continue
		}
		if err := m.proc.terminate(ctx); err != nil {
			faults = append(faults, fmt.Errorf("stopping %s: %w", name, err))
			m.proc.Kill()
		}
		if f.t.Failed() {
			f.t.Logf("%s printed:\n%s", name, m.proc.out)
		}
	}
	if err := errors.Join(faults...); err != nil {
		f.t.Error(err)
	}
}
