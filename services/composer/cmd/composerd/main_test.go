package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), []string{"-check"}); err != nil {
		t.Errorf("run(-check) = %v", err)
	}
	for name, c := range map[string]struct{ yaml, want string }{
		"malformed":   {"grpc: [", "line 1"},
		"unknown key": {"grpc:\n  lisen: x\n", "lisen"},
		"bad value":   {"max_mail_bytes: 1\ntenants:\n  acme:\n    from: {email: nobody}\n    return_domain: b.example\n", "tenants.acme: from.email"},
		"no router":   {"peers: {router: {target: \"\"}}\n", "peers.router"},
	} {
		path := filepath.Join(t.TempDir(), "composer.yaml")
		if err := os.WriteFile(path, []byte(c.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(t.Context(), []string{"-check", "-config", path}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: run(-check) = %v, want an error that says %q", name, err, c.want)
		}
	}
}

func TestNoTokens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "composer.yaml")
	if err := os.WriteFile(path, []byte("tokens: "+filepath.Join(t.TempDir(), "none")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"-config", path}); err == nil || !strings.Contains(err.Error(), "token keys") {
		t.Errorf("run without token keys = %v, want an error that says so", err)
	}
}
