package harness

import (
	"context"
	"testing"
	"time"

	"kurir.dev/cmd/kurir/mesh"
)

// local is a mesh inside the test process.
type local struct{ mesh *mesh.Mesh }

// inProcess runs a mesh in this process until the end of the test.
func inProcess(t *testing.T, cfg mesh.Config) *local {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m, err := mesh.New(ctx, cfg)
	if err != nil {
		cancel()
		t.Fatalf("making the mesh: %v", err)
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- m.Run(ctx, func(ctx context.Context) error {
			close(ready)
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping the mesh: %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("starting the mesh: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("the mesh was not ready within a minute")
	}
	return &local{mesh: m}
}

func (l *local) restart(ctx context.Context, service string) error {
	return l.mesh.Restart(ctx, service)
}
