package tracker_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"kurir.dev/kit/app"
	"kurir.dev/kit/db"
	"kurir.dev/services/tracker"
)

func TestDefaultIsValid(t *testing.T) {
	t.Parallel()
	if err := tracker.Default().Validate(); err != nil {
		t.Errorf("Default().Validate() = %v, want no error", err)
	}
}

func TestValidateNamesAllFaults(t *testing.T) {
	t.Parallel()
	cfg := tracker.Default()
	cfg.Store.URL, cfg.Lanes, cfg.Hits.Queue, cfg.Hits.TooFast, cfg.Ingest.Lease = "", nil, 0, -1, 0
	err := cfg.Validate()
	for _, want := range []string{"store.url", "lanes", "hits.queue", "hits.too_fast", "ingest.lease"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want it to name %s", err, want)
		}
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen() = %v", err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	newer := "sqlite:" + filepath.Join(t.TempDir(), "newer.db")
	d, err := db.Open(t.Context(), newer, []db.Migration{{Version: 1, SQLite: "SELECT 1", Postgres: "SELECT 1"}})
	if err != nil {
		t.Fatalf("db.Open() = %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	var port *app.ListenError
	var foreign *db.ForeignError
	var dir *app.DirectoryError
	for _, c := range []struct {
		name  string
		spoil func(*tracker.Deps, *tracker.Config)
		as    any
	}{
		{"gRPC port taken", func(_ *tracker.Deps, c *tracker.Config) { c.GRPC.Listen = taken.Addr().String() }, &port},
		{"HTTP port taken", func(_ *tracker.Deps, c *tracker.Config) {
			c.GRPC.Listen, c.HTTP.Listen = "127.0.0.1:0", taken.Addr().String()
		}, &port},
		{"another's store", func(_ *tracker.Deps, c *tracker.Config) { c.Store.URL = newer }, &foreign},
		{"no directory", func(_ *tracker.Deps, c *tracker.Config) { c.Store.URL = "sqlite:/proc/none/x.db" }, &dir},
	} {
		deps, cfg := w.deps, w.cfg
		c.spoil(&deps, &cfg)
		if _, err := tracker.New(t.Context(), deps, cfg); !errors.As(err, c.as) {
			t.Errorf("%s: New() = %v, want a %T", c.name, err, c.as)
		}
	}
	if _, err := tracker.New(context.WithoutCancel(t.Context()), tracker.Deps{}, w.cfg); err == nil || !strings.Contains(err.Error(), "Telemetry") {
		t.Errorf("New(no dependencies) = %v, want them named", err)
	}
}
