package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kurir.dev/kit/conf"
)

func TestConfiguration(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tracker.yaml")
	const text = `
broker: {addrs: ["127.0.0.1:9092"]}
http: {trusted_proxies: ["10.0.0.0/8"], listen: "127.0.0.1:1"}
hits: {too_fast: 3s}
peers: {router: {target: "router:7420"}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatalf("WriteFile() = %v", err)
	}
	cfg := defaults()
	if err := conf.Load(file, []string{"KURIR_TRACKER_STORE_URL=sqlite:/x/y.db"}, "KURIR_TRACKER", &cfg); err != nil {
		t.Fatalf("Load() = %v, want no error", err)
	}
	if cfg.Store.URL != "sqlite:/x/y.db" || cfg.Hits.TooFast.Seconds() != 3 || len(cfg.HTTP.TrustedProxies) != 1 || cfg.Peers.Router.Target != "router:7420" {
		t.Errorf("Load() = %+v, want the file's and the environment's values", cfg)
	}
	var b strings.Builder
	if err := conf.Print(&b, cfg); err != nil || !strings.Contains(b.String(), "10.0.0.0/8") {
		t.Errorf("Print() = %q, %v, want the effective configuration", b.String(), err)
	}
	if err := conf.Load("", nil, "KURIR_TRACKER", new(defaults())); err == nil || !strings.Contains(err.Error(), "addrs") {
		t.Errorf("Load(nothing) = %v, want it to ask for the broker", err)
	}
}
