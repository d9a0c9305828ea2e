package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binaries builds every program of the mesh once per test process.
type binaries struct {
	once sync.Once
	dir  string
	err  error
}

var built binaries

// programs are the packages of the programs, by file name.
var programs = map[string]string{
	"kurir":       "kurir.dev/cmd/kurir",
	"composerd":   "kurir.dev/services/composer/cmd/composerd",
	"routerd":     "kurir.dev/services/router/cmd/routerd",
	"dispatcherd": "kurir.dev/services/dispatcher/cmd/dispatcherd",
	"trackerd":    "kurir.dev/services/tracker/cmd/trackerd",
}

// path returns the file of a program, building all of them first.
func (b *binaries) path(t *testing.T, name string) string {
	t.Helper()
	b.once.Do(func() {
		b.dir, b.err = os.MkdirTemp("", "kurir-e2e-")
		if b.err == nil {
			b.err = os.Chmod(b.dir, 0o755) // other users run the programs too
		}
		for file, pkg := range programs {
			if b.err != nil {
				return
			}
			out, err := exec.CommandContext(context.Background(), "go", "build", "-o", filepath.Join(b.dir, file), pkg).CombinedOutput()
			if err != nil {
				b.err = fmt.Errorf("building %s: %w\n%s", pkg, err, out)
			}
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, name)
}

// Cleanup ends what meshes shared and removes what was built; TestMain calls it
// at the end.
func Cleanup() {
	unshare()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}

// Process is one running program with its output kept.
type Process struct {
	name   string
	cmd    *exec.Cmd
	out    *output // both, as they came
	stdout *output
	stderr *output
	done   chan struct{}
	err    error // of Wait, once done is closed
}

// output keeps what a program prints; safe for concurrent use.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps p.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String is all that was printed.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Spawn starts a program of the mesh, changed by how where given. It is killed
// at the end of the test if it still runs.
func Spawn(t *testing.T, name string, args []string, how ...func(*exec.Cmd)) *Process {
	t.Helper()
	p := spawn(t, name, args, how...)
	t.Cleanup(p.Kill)
	return p
}

// spawn starts a program that the caller ends.
func spawn(t *testing.T, name string, args []string, how ...func(*exec.Cmd)) *Process {
	t.Helper()
	p := &Process{name: name, out: &output{}, stdout: &output{}, stderr: &output{}, done: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), built.path(t, name), args...)
	p.cmd.Stdout, p.cmd.Stderr = io.MultiWriter(p.out, p.stdout), io.MultiWriter(p.out, p.stderr)
	for _, change := range how {
		change(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

// Command runs a program of the mesh to its end.
func Command(t *testing.T, name string, args ...string) *Process {
	t.Helper()
	p := Spawn(t, name, args)
	p.Status(t)
	return p
}

// Status waits for the end of the program and returns its exit status; -1 is
// the end by a signal.
func (p *Process) Status(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		t.Fatalf("%s still runs after a minute:\n%s", p.name, p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stdout is what the program printed to its standard output so far.
func (p *Process) Stdout() string { return p.stdout.String() }

// Stderr is what the program printed to its standard error so far.
func (p *Process) Stderr() string { return p.stderr.String() }

// Ended reports whether the program ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Terminate asks the program to stop.
func (p *Process) Terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("stopping %s: %v", p.name, err)
	}
}

// PID is the program's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends the program a signal, such as SIGSTOP and SIGCONT.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the program at once, as kill -9 does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// terminate asks the program to stop and waits until it has.
func (p *Process) terminate(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%s did not stop: %w", p.name, context.Cause(ctx))
	}
}

// Eventually calls check every few milliseconds until it returns nil; the test
// fails with its last error when that does not happen within a minute.
func Eventually(t *testing.T, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("still not so: %v", err)
		}
	}
}
