package router_test

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"kurir.dev/kit/app"
	"kurir.dev/kit/db"
	"kurir.dev/services/router"
)

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	if err := router.Default().Validate(); err != nil {
		t.Errorf("Default().Validate() = %v, want nil", err)
	}
	err := router.Config{}.Validate()
	for _, want := range []string{
		"lanes", "store.url", "admission.max_in_flight", "admission.stream_window", "admission.max_mail_bytes",
		"admission.max_ahead", "idempotency.window", "idempotency.landing", "idempotency.sweep", "groups.deferred", "groups.dispatcher", "drain", "waiting.lease",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Config{}.Validate() = %v, want it to name %s", err, want)
		}
	}
}

// TestNewFails: what cannot work says so before anything starts.
func TestNewFails(t *testing.T) {
	t.Parallel()
	h := build(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen() = %v", err)
	}
	defer taken.Close()
	newer := "sqlite:" + filepath.Join(t.TempDir(), "newer.db")
	all := make([]db.Migration, 9)
	for i := range all {
		all[i] = db.Migration{Version: i + 1, SQLite: "SELECT 1", Postgres: "SELECT 1"}
	}
	d, err := db.Open(t.Context(), newer, all)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	deps := router.Deps{Telemetry: h.tel, Broker: h.client, Keyring: h.keys}
	for name, c := range map[string]struct {
		deps   router.Deps
		change func(c *router.Config)
		is     func(err error) bool
	}{
		"port taken": {deps, func(c *router.Config) { c.GRPC.Listen = taken.Addr().String() }, func(err error) bool {
			var l *app.ListenError
			return errors.As(err, &l)
		}},
		"foreign store": {deps, func(c *router.Config) { c.Store.URL = newer }, func(err error) bool {
			var f *db.ForeignError
			var n *db.NewerError
			return errors.As(err, &f) || errors.As(err, &n)
		}},
		"directory that is a file": {deps, func(c *router.Config) { c.Store.URL = "sqlite:/dev/null/router.db" }, func(err error) bool {
			return strings.Contains(err.Error(), "/dev/null")
		}},
		"no broker": {router.Deps{Telemetry: h.tel, Keyring: h.keys}, func(*router.Config) {}, func(err error) bool {
			return strings.Contains(err.Error(), "broker: is missing")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := h.cfg
			cfg.GRPC.Listen = "127.0.0.1:0"
			c.change(&cfg)
			if _, err := router.New(t.Context(), c.deps, cfg); err == nil || !c.is(err) {
				t.Errorf("New() = %v", err)
			}
		})
	}
}
