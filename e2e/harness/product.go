package harness

import (
	"bufio"
	"context"
	"net"
	"os/exec"
	"testing"
	"time"

	"kurir.dev/kit/telemetry"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// Product is the telemetry of a product service that calls the mesh, with its
// spans sent to the collector at endpoint.
func Product(t *testing.T, name, endpoint string) *telemetry.Telemetry {
	t.Helper()
	cfg := telemetry.Default()
	cfg.Traces.Endpoint, cfg.Traces.Insecure = endpoint, true
	tel, err := telemetry.New(t.Context(), name, "test", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = tel.Shutdown(ctx)
	})
	return tel
}

// Client is a client of composer in the name of a product.
func (m *Mesh) Client(t *testing.T, product *telemetry.Telemetry) mailv1.MailServiceClient {
	t.Helper()
	return mailv1.NewMailServiceClient(m.dial(t, "composer", product))
}

// Run runs a foreign server until the end of the test, and returns once it
// listens on addr.
func Run(t *testing.T, path, addr string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			t.Log(path + ": " + lines.Text())
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	Eventually(t, func() error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}
