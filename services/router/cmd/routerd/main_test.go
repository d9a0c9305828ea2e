package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		yaml, want string
	}{
		"good":              {"broker: {addrs: [\"127.0.0.1:9092\"]}\n", ""},
		"unknown key":       {"broker: {addrs: [\"127.0.0.1:9092\"]}\nstorre: {url: x}\n", "storre"},
		"no broker":         {"ops: \"\"\n", "addrs"},
		"no keyring":        {"broker: {addrs: [\"127.0.0.1:9092\"]}\nkeyring: \"\"\n", "keyring"},
		"mail above record": {"broker: {addrs: [\"127.0.0.1:9092\"]}\nadmission: {max_mail_bytes: 2000000}\n", "max_mail_bytes"},
		"malformed":         {"broker: [\n", "line"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "router.yaml")
			if err := os.WriteFile(path, []byte(c.yaml), 0o600); err != nil {
				t.Fatalf("WriteFile() = %v", err)
			}
			err := run(t.Context(), []string{"-config", path, "-check"})
			switch {
			case c.want == "" && err != nil:
				t.Errorf("run(-check) = %v, want nil", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("run(-check) = %v, want it to name %q", err, c.want)
			}
		})
	}
}
