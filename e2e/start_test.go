package e2e_test

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/token"
)

// daemons are the services' programs.
var daemons = []string{"composerd", "routerd", "dispatcherd", "trackerd"}

// refused checks that a program ended with an error and said so on exactly one
// line, which holds all of want.
func refused(t *testing.T, p *harness.Process, want ...string) {
	t.Helper()
	if status := p.Status(t); status != 1 {
		t.Errorf("exit status = %d, want 1; stderr:\n%s", status, p.Stderr())
	}
	line, more, _ := strings.Cut(p.Stderr(), "\n")
	if more != "" {
		t.Errorf("stderr holds more than one line:\n%s", p.Stderr())
	}
	for _, words := range want {
		if !strings.Contains(line, words) {
			t.Errorf("stderr = %q, want it to hold %q", line, words)
		}
	}
}

// daemonSettings are those of a service's program that could start, but for its
// broker, which is away.
func daemonSettings(t *testing.T, program string) harness.Settings {
	t.Helper()
	dir := t.TempDir()
	keyring, tokens := filepath.Join(dir, "keyring.json"), filepath.Join(dir, "tokens")
	if _, err := seal.LoadOrCreate(keyring); err != nil {
		t.Fatal(err)
	}
	if _, err := token.LoadOrCreate(tokens); err != nil {
		t.Fatal(err)
	}
	s := harness.Settings{
		"telemetry.log.level": "error", "ops": harness.FreeAddress(t), "grpc.listen": harness.FreeAddress(t),
	}
	if program != "composerd" {
		s["keyring"], s["broker.addrs"] = keyring, []string{"unix:" + filepath.Join(dir, "no.sock")}
	}
	switch program {
	case "composerd":
		s["tokens"] = tokens
	case "routerd":
		s["store.url"] = "sqlite:" + filepath.Join(dir, "router.db")
	case "dispatcherd":
		s["sandbox.smtp_listen"], s["sandbox.page_listen"] = harness.FreeAddress(t), harness.FreeAddress(t)
	case "trackerd":
		s["store.url"], s["tokens"] = "sqlite:"+filepath.Join(dir, "tracker.db"), tokens
		s["http.listen"] = harness.FreeAddress(t)
	}
	return s
}

// start runs a program with its settings: kurir up, or a service's own.
func start(t *testing.T, program string, s harness.Settings) *harness.Process {
	t.Helper()
	return startFile(t, program, s.YAML(t))
}

// startFile runs a program with the text of its configuration file.
func startFile(t *testing.T, program, text string) *harness.Process {
	t.Helper()
	file := harness.WriteFile(t, "kurir.yaml", text)
	if program == "kurir" {
		return harness.Spawn(t, program, []string{"up", "--data", filepath.Join(filepath.Dir(file), "data"), "--config", file})
	}
	return harness.Spawn(t, program, []string{"-config", file})
}

// TestBadConfiguration starts every program with configuration files that
// cannot be meant.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for _, program := range append([]string{"kurir"}, daemons...) {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			s, part := harness.FreeSettings(t), "composer."
			if program != "kurir" {
				s, part = daemonSettings(t, program), ""
			}
			text := s.YAML(t)
			lines := strings.Count(text, "\n")
			refused(t, startFile(t, program, "grpc: [\n"), program+": ", "kurir.yaml", "not valid YAML", "line 1")
			refused(t, startFile(t, program, text+"oops: 127.0.0.1:0\n"), fmt.Sprintf("kurir.yaml: line %d: oops: unknown key, did you mean ops?", lines+1))
			refused(t, start(t, program, s.With(harness.Settings{part + "grpc.lisen": "x"})), part+"grpc.lisen: unknown key, did you mean listen?", "line ")
			refused(t, start(t, program, s.With(harness.Settings{part + "drain": "soon"})), part+"drain: ", `a duration such as "30s"`, "line ")
			refused(t, start(t, program, s.With(harness.Settings{part + "grpc.default_deadline": "-1s"})), part+"grpc.default_deadline: ", "negative")
			refused(t, start(t, program, s.With(harness.Settings{"telemetry.log.level": "loud"})), "telemetry.log.level: ", `"loud" is none of debug, info, warn, error`)
		})
	}
}

// TestMissing starts programs without what they cannot do without.
func TestMissing(t *testing.T) {
	t.Parallel()
	refused(t, harness.Command(t, "routerd"), "routerd: broker.addrs: at least one broker address is needed")
	refused(t, harness.Command(t, "routerd", "-config", "none.yaml"), "none.yaml", "no such file")
	refused(t, harness.Command(t, "kurir", "up", "--config", "none.yaml"), "none.yaml", "no such file")
	for _, program := range daemons {
		s := daemonSettings(t, program)
		for _, key := range []string{"keyring", "tokens"} {
			if _, ok := s[key]; ok {
				refused(t, start(t, program, s.With(harness.Settings{key: "none"})), program+": "+key+": ", "none", "no such file", "kurir keys")
			}
		}
	}
}

// TestPortTaken starts every program with each of its addresses taken.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	taken := l.Addr().String()

	keys := map[string][]string{
		"composerd": {"grpc.listen"}, "routerd": {"grpc.listen"}, "trackerd": {"grpc.listen", "http.listen"},
		"dispatcherd": {"grpc.listen", "sandbox.smtp_listen", "sandbox.page_listen"},
	}
	for _, program := range daemons {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			s := daemonSettings(t, program)
			for _, key := range append(keys[program], "ops") {
				refused(t, start(t, program, s.With(harness.Settings{key: taken})), taken, "address already in use", "choose another", key)
			}
		})
	}
	t.Run("kurir", func(t *testing.T) {
		t.Parallel()
		s := harness.FreeSettings(t).With(harness.Settings{"telemetry.log.level": "error"})
		for _, key := range []string{"router.grpc.listen", "tracker.http.listen", "dispatcher.sandbox.page_listen", "ops.composer"} {
			service, rest, _ := strings.Cut(key, ".")
			if service == "ops" {
				service, rest = rest, key
			}
			refused(t, start(t, "kurir", s.With(harness.Settings{key: taken})), service, taken, "address already in use", "choose another", rest)
		}
	})
}

// TestUnwritable starts programs whose data directory cannot be written.
func TestUnwritable(t *testing.T) {
	t.Parallel()
	below := filepath.Join(harness.WriteFile(t, "file", ""), "below")
	for _, program := range []string{"routerd", "trackerd"} {
		s := daemonSettings(t, program).With(harness.Settings{"store.url": "sqlite:" + below + "/x.db"})
		refused(t, start(t, program, s), "store.url: ", below, "not writable", "give this user write access or configure another directory")
	}
	file := harness.WriteFile(t, "kurir.yaml", harness.FreeSettings(t).YAML(t))
	refused(t, harness.Command(t, "kurir", "up", "--data", below, "--config", file), "data: ", below, "not writable")
	refused(t, harness.Command(t, "kurir", "broker", "--data", below), "data: ", below, "not writable")

	if os.Geteuid() != 0 {
		return // a directory of somebody else's takes another user to make
	}
	dir, err := os.MkdirTemp("", "kurir-e2e-unwritable-") //nolint:usetesting // t.TempDir lets nobody else in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	nobody := func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	refused(t, harness.Spawn(t, "kurir", []string{"up", "--data", dir}, nobody), "data: ", dir, "not writable", "permission denied")
}

// TestNewerData starts programs on data that a newer version wrote.
func TestNewerData(t *testing.T) {
	t.Parallel()
	s := harness.FreeSettings(t).With(harness.Settings{"telemetry.log.level": "error"})
	in := harness.Up(t, s)
	in.Process.Terminate(t)
	if status := in.Process.Status(t); status != 0 {
		t.Fatalf("kurir up ended with %d:\n%s", status, in.Process.Stderr())
	}
	again := func() *harness.Process {
		return harness.Command(t, "kurir", "up", "--data", in.Data, "--config", in.Config)
	}
	for _, service := range []string{"router", "tracker"} {
		path := filepath.Join(in.Data, service+".db")
		alter(t, path, `INSERT INTO schema_version (version, checksum, applied_at) VALUES (99, 'x', 'tomorrow')`)
		refused(t, again(), service+": store.url: ", path, "schema version 99", "run the newer program")
		alter(t, path, `DELETE FROM schema_version WHERE version = 99`)
	}
	if err := os.WriteFile(filepath.Join(in.Data, "kafka", "VERSION"), []byte("kurir-broker 99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, again(), "data: ", in.Data, "written by a newer version", "99")
}

// alter changes a database behind its owner's back.
func alter(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path) // the services' driver
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// TestDataInUse starts a second process on the data directory of a first.
func TestDataInUse(t *testing.T) {
	t.Parallel()
	in := harness.Up(t, harness.FreeSettings(t))
	file := harness.WriteFile(t, "kurir.yaml", harness.FreeSettings(t).With(harness.Settings{"telemetry.log.level": "error"}).YAML(t))
	refused(t, harness.Command(t, "kurir", "up", "--data", in.Data, "--config", file), "data: ", in.Data, "in use by another process", "stop that one")
	refused(t, harness.Command(t, "kurir", "broker", "--data", in.Data), "data: ", in.Data, "in use by another process")
}
