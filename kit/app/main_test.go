package app_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"syscall"
	"testing"

	"kurir.dev/kit/app"
)

// TestMain lets the test binary be a program of its own: with a role in the
// environment it runs app.Main instead of the tests.
func TestMain(m *testing.M) {
	if role := os.Getenv("APP_TEST_ROLE"); role != "" {
		app.Main("kurird", func(ctx context.Context, _ []string) error { return play(ctx, role) })
	}
	os.Exit(m.Run())
}

func play(ctx context.Context, role string) error {
	switch role {
	case "fail":
		return errors.New("no store")
	case "help":
		return flag.ErrHelp
	case "collector":
		return fmt.Errorf("collects at %d percent", debug.SetGCPercent(-1))
	case "heavy":
		return heavy()
	}
	fmt.Fprintln(os.Stdout, "running")
	<-ctx.Done()
	fmt.Fprintln(os.Stdout, "stopping")
	if role == "stubborn" {
		select {}
	}
	return nil
}

// heavy lives in so much memory that the collector is to let it grow less.
func heavy() error {
	ballast := make([]byte, 400<<20)
	defer runtime.KeepAlive(&ballast)
	percent := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	for range 1000 {
		runtime.GC()
		if metrics.Read(percent); percent[0].Value.Uint64() == 50 {
			return fmt.Errorf("collects at 50 percent with %d MB", len(ballast)>>20)
		}
	}
	return fmt.Errorf("collects at %d percent with %d MB", percent[0].Value.Uint64(), len(ballast)>>20)
}

func program(t *testing.T, role string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "APP_TEST_ROLE="+role)
	stderr := new(strings.Builder)
	cmd.Stderr = stderr
	return cmd, stderr
}

func TestMainCollector(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]string{"GOGC=": "200", "GOGC=50": "50", "GOGC=off": "-1"} {
		cmd, stderr := program(t, "collector")
		cmd.Env = append(cmd.Env, env)
		_ = cmd.Run() // its error is what it has to say
		if got, want := stderr.String(), "kurird: collects at "+want+" percent\n"; got != want {
			t.Errorf("with %s: %q, want %q", env, got, want)
		}
	}
}

func TestMainCollectorHeavy(t *testing.T) {
	t.Parallel()
	cmd, stderr := program(t, "heavy")
	cmd.Env = append(cmd.Env, "GOGC=")
	_ = cmd.Run() // its error is what it has to say
	if got, want := stderr.String(), "kurird: collects at 50 percent with 400 MB\n"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func TestMainExit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		role, stderr string
		code         int
	}{
		{"fail", "kurird: no store\n", 1},
		{"help", "", 0},
	}
	for _, tt := range tests {
		cmd, stderr := program(t, tt.role)
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != tt.code || stderr.String() != tt.stderr {
			t.Errorf("%s: exit %d, %q, want %d, %q", tt.role, got, stderr, tt.code, tt.stderr)
		}
	}
}

func TestMainSignals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		role string
		code int
	}{{"orderly", 0}, {"stubborn", 130}} {
		cmd, _ := program(t, tt.role)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		expect := func(want string) {
			t.Helper()
			if !lines.Scan() || lines.Text() != want {
				t.Fatalf("%s: line = %q, want %q", tt.role, lines.Text(), want)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
		}
		expect("running")
		if tt.role == "stubborn" {
			expect("stopping")
		}
		for lines.Scan() {
			continue
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != tt.code {
			t.Errorf("%s: exit %d, want %d", tt.role, got, tt.code)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	set := func(kv ...string) []debug.BuildSetting {
		var all []debug.BuildSetting
		for i := 0; i < len(kv); i += 2 {
			all = append(all, debug.BuildSetting{Key: kv[i], Value: kv[i+1]})
		}
		return all
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	tests := []struct {
		info *debug.BuildInfo
		want string
	}{
		{&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: set("vcs.revision", commit)}, "0123456789ab"},
		{&debug.BuildInfo{Settings: set("vcs.revision", commit, "vcs.modified", "true")}, "0123456789ab-dirty"},
		{&debug.BuildInfo{}, "devel"},
	}
	for _, tt := range tests {
		if got := app.VersionOf(tt.info); got != tt.want {
			t.Errorf("VersionOf(%v) = %q, want %q", tt.info, got, tt.want)
		}
	}
	if got := app.Version(); got == "" {
		t.Error("Version() is empty")
	}
}
