package harness

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"kurir.dev/kit/broker/brokertest"
)

// Instance is the whole mesh in one process, "kurir up", as a newcomer runs
// it: mail goes to the sandbox inbox.
type Instance struct {
	// Composer and Tracker are the addresses of their gRPC.
	Composer, Tracker string
	// Inbox is the URL of the sandbox inbox.
	Inbox string
	// Ops are the URLs of the services' ops pages.
	Ops map[string]string
	// Data and Config are its data directory and configuration file.
	Data, Config string
	// Process is the one that runs now.
	Process *Process
}

// Settings are the keys of a configuration of "kurir up", by dotted path.
type Settings map[string]any

// FreeSettings are the addresses of everything that listens, all free.
func FreeSettings(t *testing.T) Settings {
	t.Helper()
	s := Settings{}
	for _, key := range []string{
		"ops.composer", "ops.router", "ops.dispatcher", "ops.tracker",
		"composer.grpc.listen", "router.grpc.listen", "dispatcher.grpc.listen", "tracker.grpc.listen",
		"tracker.http.listen", "dispatcher.sandbox.smtp_listen", "dispatcher.sandbox.page_listen",
	} {
		s[key] = FreeAddress(t)
	}
	s["composer.public_url"] = "http://" + s["tracker.http.listen"].(string)
	return s
}

// With returns the settings with some set anew.
func (s Settings) With(other Settings) Settings {
	all := maps.Clone(s)
	maps.Copy(all, other)
	return all
}

// YAML is the settings as a configuration file.
func (s Settings) YAML(t *testing.T) string {
	t.Helper()
	root := map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(s)) {
		at, keys := root, strings.Split(path, ".")
		for _, key := range keys[:len(keys)-1] {
			below, ok := at[key].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[key] = below
			}
			at = below
		}
		at[keys[len(keys)-1]] = s[path]
	}
	text, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// WriteFile writes a file into a directory of its own and returns its path.
func WriteFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Up runs "kurir up" with the settings until the end of the test, and returns
// once it is ready. Its data directory is the one under "data", or one of its
// own.
func Up(t *testing.T, s Settings) *Instance {
	t.Helper()
	if brokertest.Apache() {
		s = s.With(share(t).settings())
	}
	address := func(key string) string { return s[key].(string) }
	data, ok := s["data"].(string)
	if !ok {
		data = filepath.Join(t.TempDir(), "data")
	}
	in := &Instance{
		Composer: address("composer.grpc.listen"), Tracker: address("tracker.grpc.listen"),
		Inbox: "http://" + address("dispatcher.sandbox.page_listen"),
		Ops:   map[string]string{},
		Data:  data, Config: WriteFile(t, "kurir.yaml", s.YAML(t)),
	}
	for _, service := range order[1:] {
		in.Ops[service] = "http://" + address("ops."+service)
	}
	in.Begin(t)
	return in
}

// Begin starts the instance, again after it was stopped or killed, and returns
// once it is ready.
func (in *Instance) Begin(t *testing.T) {
	t.Helper()
	in.Launch(t)
	Eventually(t, func() error {
		switch {
		case strings.Contains(in.Process.Stdout(), "Kurir is up."):
			return nil
		case in.Process.Ended():
			t.Fatalf("kurir up ended: %v\n%s", in.Process.err, in.Process.out)
		}
		return errors.New("kurir is not up")
	})
}

// Launch starts the instance and waits for nothing.
func (in *Instance) Launch(t *testing.T) {
	t.Helper()
	in.Process = Spawn(t, "kurir", []string{"up", "--data", in.Data, "--config", in.Config})
}

// Readiness asks a service of the instance whether it can do its work, and if
// not, why.
func (in *Instance) Readiness(service string) (ready bool, why string, err error) {
	return readiness(in.Ops[service] + "/readyz")
}

// UpMX runs "kurir up" until the end of the test, with mail going to an
// internet of its own and what more is set. The mesh are its clients, over all
// its lives.
func UpMX(t *testing.T, more Settings) (*Instance, *Mesh) {
	t.Helper()
	m := internet(t)
	s := FreeSettings(t).With(Settings{
		"dispatcher.routes": []map[string]string{{"type": "mx"}}, "dispatcher.dns.servers": []string{m.DNS.Addr()},
		"dispatcher.smtp.port": m.port, "dispatcher.smtp.allow_loopback": true, "dispatcher.smtp.ehlo": "kurir.example",
	}).With(more)
	m.doors = map[string]string{}
	for _, service := range []string{"composer", "router", "dispatcher", "tracker"} {
		m.doors[service] = s[service+".grpc.listen"].(string)
	}
	in := Up(t, s)
	m.connect(t)
	return in, m
}
