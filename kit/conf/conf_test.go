package conf_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/conf"
)

// config has one field of everything that a configuration may hold.
type config struct {
	Listen  string `yaml:"listen"`
	Store   store  `yaml:"store"`
	Workers int    `yaml:"workers"`
	Ratio   float64
	Debug   bool              `yaml:"debug"`
	Drain   time.Duration     `yaml:"drain"`
	Addrs   []string          `yaml:"addrs"`
	Ladder  []time.Duration   `yaml:"ladder"`
	Lanes   []lane            `yaml:"lanes"`
	Labels  map[string]string `yaml:"labels"`
	Relay   *relay            `yaml:"relay"`
	When    time.Time         `yaml:"when"`
	Common  `yaml:",inline"`
	Skipped string `yaml:"-"`
	private string
}

type store struct {
	URL      string      `yaml:"url"`
	Password conf.Secret `yaml:"password"`
	MaxConns uint        `yaml:"max_conns"`
}

type lane struct {
	Name   string        `yaml:"name"`
	Expiry time.Duration `yaml:"expiry"`
	Key    conf.Secret   `yaml:"key"`
}

type relay struct {
	Host string `yaml:"host"`
}

// Common is shared by all services.
type Common struct {
	Prefix string `yaml:"prefix"`
}

func (c *config) Validate() error {
	if c.Workers < 0 {
		return errors.New("workers: is negative")
	}
	return nil
}

func defaults() config {
	return config{Listen: "127.0.0.1:7420", Workers: 4, Drain: 5 * time.Second, Addrs: []string{"a:9092"}, private: "kept"}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	t.Parallel()
	secret := write(t, "password", "hunter2\n")
	tests := []struct {
		name, yaml string
		env        []string
		change     func(c *config)
	}{
		{"defaults", "", nil, func(*config) {}},
		{"only comments", "# nothing\n", nil, func(*config) {}},
		{"only a marker", "---\n", nil, func(*config) {}},
		{"file over defaults", "workers: 8\nstore: {url: 'sqlite:x'}\nratio: 0.5\ndebug: true\n", nil, func(c *config) {
			c.Workers, c.Store.URL, c.Ratio, c.Debug = 8, "sqlite:x", 0.5, true
		}},
		{"durations", "drain: 1m30s\nladder: [2s, 5s]\n", nil, func(c *config) {
			c.Drain, c.Ladder = 90*time.Second, []time.Duration{2 * time.Second, 5 * time.Second}
		}},
		{"zero needs no unit", "drain: 0\n", nil, func(c *config) { c.Drain = 0 }},
		{"lists replace", "addrs: [b:1, c:2]\n", nil, func(c *config) { c.Addrs = []string{"b:1", "c:2"} }},
		{"inline", "prefix: kurir\n", nil, func(c *config) { c.Prefix = "kurir" }},
		{"pointer", "relay: {host: mx}\n", nil, func(c *config) { c.Relay = &relay{Host: "mx"} }},
		{"its own syntax", "when: 2026-01-02T03:04:05Z\n", nil, func(c *config) {
			c.When = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		}},
		{"anchors", "lanes:\n- &o {name: otp, expiry: 5m}\n- {<<: *o, name: bulk}\n", nil, func(c *config) {
			c.Lanes = []lane{{Name: "otp", Expiry: 5 * time.Minute}, {Name: "bulk", Expiry: 5 * time.Minute}}
		}},
		{"secret", "store: {password: hunter2}\n", nil, func(c *config) { c.Store.Password = "hunter2" }},
		{"secret file", "store: {password_file: " + secret + "}\n", nil, func(c *config) { c.Store.Password = "hunter2" }},
		{"secret file in a list", "lanes: [{name: otp, key_file: " + secret + "}]\n", nil, func(c *config) {
			c.Lanes = []lane{{Name: "otp", Key: "hunter2"}}
		}},
		{"environment over file", "workers: 8\n", []string{"KURIR_ROUTER_WORKERS=16", "HOME=/root"}, func(c *config) { c.Workers = 16 }},
		{"environment", "", []string{
			"KURIR_ROUTER_STORE_URL=postgres://db/kurir?a=b", "KURIR_ROUTER_STORE_MAX_CONNS=7", "KURIR_ROUTER_DEBUG=true",
			"KURIR_ROUTER_RATIO=0.25", "KURIR_ROUTER_DRAIN=1m", "KURIR_ROUTER_ADDRS=b:1, c:2", "KURIR_ROUTER_LADDER=1s,2s",
			"KURIR_ROUTER_PREFIX=12", "KURIR_ROUTER_RELAY_HOST=mx", "KURIR_ROUTER_LABELS={a: b}",
			"KURIR_ROUTER_LANES=[{name: otp, expiry: 5m}]", "KURIR_ROUTER_STORE_PASSWORD=s3cret",
			"KURIR_ROUTER_WHEN=2026-01-02T03:04:05Z",
		}, func(c *config) {
			c.Store = store{URL: "postgres://db/kurir?a=b", MaxConns: 7, Password: "s3cret"}
			c.Debug, c.Ratio, c.Drain, c.Prefix = true, 0.25, time.Minute, "12"
			c.Addrs, c.Ladder = []string{"b:1", "c:2"}, []time.Duration{time.Second, 2 * time.Second}
			c.Relay, c.Labels = &relay{Host: "mx"}, map[string]string{"a": "b"}
			c.Lanes = []lane{{Name: "otp", Expiry: 5 * time.Minute}}
			c.When = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		}},
		{"environment secret file", "", []string{"KURIR_ROUTER_STORE_PASSWORD_FILE=" + secret}, func(c *config) {
			c.Store.Password = "hunter2"
		}},
		{"empty list", "", []string{"KURIR_ROUTER_ADDRS="}, func(c *config) { c.Addrs = nil }},
		{"strange variables", "", []string{
			"KURIR_ROUTER_SERVICE_HOST=10.0.0.1", "KURIR_ROUTERX_WORKERS=1", "KURIR_ROUTER_SKIPPED=x", "odd",
		}, func(*config) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := ""
			if tt.yaml != "" {
				path = write(t, "router.yaml", tt.yaml)
			}
			got, want := defaults(), defaults()
			tt.change(&want)
			if err := conf.Load(path, tt.env, "KURIR_ROUTER", &got); err != nil {
				t.Fatalf("Load(%q, %q) = %v, want nil", tt.yaml, tt.env, err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{}), equateNil()); diff != "" {
				t.Errorf("Load(%q, %q) mismatch (-want +got):\n%s", tt.yaml, tt.env, diff)
			}
		})
	}
}

// equateNil makes empty and nil lists equal.
func equateNil() cmp.Option {
	return cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())
}

func TestLoadFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, yaml string
		env        []string
		want       []string // lines, @ standing for the path
	}{
		{"unknown key", "listen: x\nstroe:\n  url: y\n", nil, []string{`@: line 2: stroe: unknown key, did you mean store?`}},
		{"unknown nested key", "store:\n  uri: y\n", nil, []string{`@: line 2: store.uri: unknown key, did you mean url?`}},
		{"unknown key in a list", "lanes:\n- name: otp\n  colour: red\n", nil, []string{`@: line 3: lanes[0].colour: unknown key`}},
		{"hidden key", "skipped: x\n", nil, []string{`@: line 1: skipped: unknown key`}},
		{"not a secret", "listen_file: x\n", nil, []string{`@: line 1: listen_file: unknown key`}},
		{"repeated", "workers: 1\nworkers: 2\n", nil, []string{`@: line 2: workers: given already in line 1`}},
		{"wrong type", "store:\n  max_conns: many\n", nil, []string{`@: line 2: store.max_conns: "many" is not a whole number from zero up`}},
		{"negative", "store:\n  max_conns: -1\n", nil, []string{`@: line 2: store.max_conns: "-1" is not a whole number from zero up`}},
		{"no number", "workers: lots\n", nil, []string{`@: line 1: workers: "lots" is not a whole number`}},
		{"no bool", "debug: maybe\n", nil, []string{`@: line 1: debug: "maybe" is not true or false`}},
		{"no duration", "drain: soon\n", nil, []string{`@: line 1: drain: "soon" is not a duration such as "30s" or "5m"`}},
		{"no unit", "drain: 5\n", nil, []string{`@: line 1: drain: a duration needs a unit, as in 5s`}},
		{"no unit in a list", "ladder:\n- 1s\n- 2\n", nil, []string{`@: line 3: ladder[1]: a duration needs a unit, as in 2s`}},
		{"a group for a text", "listen: {a: b}\n", nil, []string{`@: line 1: listen: a group of keys is not a text`}},
		{"a list for a group", "store: [a]\n", nil, []string{`@: line 1: store: a list is not a group of keys`}},
		{"no mapping", "just words\n", nil, []string{`@: line 1: "just words" is not a group of keys`}},
		{"two documents", "workers: 1\n---\nworkers: 2\n", nil, []string{`@: line 2: a second document begins, only one is read`}},
		{"malformed", "workers: [1\n", nil, []string{`@ is not valid YAML: line 1: did not find expected ',' or ']'`}},
		{"tab", "store:\n\turl: x\n", nil, []string{`@ is not valid YAML: line 2: found character that cannot start any token`}},
		{"secret twice", "store: {password: a, password_file: " + os.DevNull + "}\n", nil, []string{
			`@: line 1: store.password: given already in line 1`,
		}},
		{"secret file missing", "store: {password_file: /nonexistent/p}\n", nil, []string{
			`@: line 1: store.password_file: reading the secret: open /nonexistent/p: no such file or directory`,
		}},
		{"environment", "", []string{"E_WORKERS=x", "E_DRAIN=5", "E_DEBUG=2", "E_LABELS=[", "E_LANES=[{nam: x}]"}, []string{
			`environment E_WORKERS: workers: "x" is not a whole number`,
			`environment E_DEBUG: debug: "2" is not true or false`,
			`environment E_DRAIN: drain: a duration needs a unit, as in 5s`,
			`environment E_LANES: lanes: [0].nam: unknown key, did you mean name?`,
			`environment E_LABELS: labels: not valid YAML: line 1: did not find expected node content`,
		}},
		{"environment secret twice", "", []string{"E_STORE_PASSWORD=a", "E_STORE_PASSWORD_FILE=b"}, []string{
			`environment E_STORE_PASSWORD_FILE: store.password: E_STORE_PASSWORD and E_STORE_PASSWORD_FILE are both set`,
		}},
		{"all at once", "stor: {}\nworkers: -1\ndebug: 7\n", []string{"E_DRAIN=x"}, []string{
			`@: line 1: stor: unknown key, did you mean store?`,
			`@: line 3: debug: "7" is not true or false`,
			`environment E_DRAIN: drain: "x" is not a duration such as "30s" or "5m"`,
			`workers: is negative`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := ""
			if tt.yaml != "" {
				path = write(t, "router.yaml", tt.yaml)
			}
			c := defaults()
			err := conf.Load(path, tt.env, "E", &c)
			if err == nil {
				t.Fatalf("Load(%q) = nil, want %q", tt.yaml, tt.want)
			}
			want := strings.ReplaceAll(strings.Join(tt.want, "\n"), "@", path)
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("Load(%q) mismatch (-want +got):\n%s", tt.yaml, diff)
			}
		})
	}
}

func TestLoadWithoutFile(t *testing.T) {
	t.Parallel()
	c := defaults()
	err := conf.Load("/nonexistent/router.yaml", nil, "E", &c)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent/router.yaml") {
		t.Errorf("Load(missing) = %v, want ErrNotExist with the path", err)
	}
	if err := conf.Load("", nil, "E", c); err == nil {
		t.Error("Load(into a value) = nil, want an error")
	}
}

func TestErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	c := defaults()
	path := write(t, "router.yaml", "store:\n  password: [hunter2]\n")
	err := conf.Load(path, []string{"E_STORE_PASSWORD=hunter2", "E_WORKERS=x"}, "E", &c)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Load() = %v, want an error without the secret", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "workers: 8\nstore: {url: x, password: y}\n", "lanes:\n- &o {name: otp}\n- {<<: *o}\n",
		"drain: 5\n", "a: &a [*a]\n", "lanes: &a [*a, *a, *a]\n", "labels: &a {x: *a, y: *a}\n", "lanes: &l\n- {key: *l}\n", "? [x]\n: y\n", "---\n...\n---\n", "\xff\xfe", "<<: {workers: 1}\n",
		"store: !!binary aGk=\n", "labels: {a: 1, a: 2}\n",
	} {
		f.Add(seed, "1")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text, value string) {
		file, err := os.CreateTemp(dir, "*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.Remove(file.Name()); err != nil {
				t.Error(err)
			}
		}()
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		c := defaults()
		env := []string{"E_LANES=" + value, "E_DRAIN=" + value, "E_STORE_MAX_CONNS=" + value, "E_ADDRS=" + value}
		if err := conf.Load(file.Name(), env, "E", &c); err != nil {
			return
		}
		// What was loaded prints, and what was printed loads.
		c.Store.Password = ""
		for i := range c.Lanes {
			c.Lanes[i].Key = ""
		}
		var out strings.Builder
		if err := conf.Print(&out, &c); err != nil {
			t.Fatalf("Print(%+v) = %v, want nil", c, err)
		}
		again := defaults()
		if err := conf.Load(write(t, "again.yaml", out.String()), nil, "E", &again); err != nil {
			t.Fatalf("Load(Print(c)) = %v, want nil:\n%s", err, out.String())
		}
	})
}

func TestUnder(t *testing.T) {
	t.Parallel()
	if err := conf.Under("broker", nil); err != nil {
		t.Errorf("Under(nil) = %v, want nil", err)
	}
	missing := errors.New("addrs: is missing")
	err := conf.Under("router", conf.Under("broker", errors.Join(missing, errors.New("partitions: must be positive"))))
	const want = "router.broker.addrs: is missing\nrouter.broker.partitions: must be positive"
	if err.Error() != want || !errors.Is(err, missing) {
		t.Errorf("Under() = %q, want %q and the faults below", err, want)
	}
}
