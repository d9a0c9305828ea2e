package conf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kurir.dev/kit/conf"
)

// door is a daemon's configuration.
type door struct {
	Listen string      `yaml:"listen"`
	Key    conf.Secret `yaml:"key"`
}

func TestBoot(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "d.yaml")
	if err := os.WriteFile(file, []byte("key: hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args   []string
		work   bool
		out    string // the output holds it
		listen string
	}{
		"work":    {[]string{"-config", file}, true, "", ":1"},
		"listen":  {[]string{"-config", file, "-listen", ":2"}, true, "", ":2"},
		"version": {[]string{"-version"}, false, "doord v1", ":1"},
		"check":   {[]string{"-config", file, "-check"}, false, "good", ":1"},
		"print":   {[]string{"-config", file, "-print", "-listen", ":3"}, false, "listen: :3", ":3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			cfg := door{Listen: ":1"}
			work, err := conf.Boot(&out, conf.Program{Name: "doord", Version: "v1", Env: "DOORD"}, c.args, &cfg, &cfg.Listen)
			if err != nil || work != c.work || !strings.Contains(out.String(), c.out) || cfg.Listen != c.listen {
				t.Errorf("Boot(%q) = %v, %v, printed %q, listens at %q", c.args, work, err, out.String(), cfg.Listen)
			}
			if strings.Contains(out.String(), "hush") {
				t.Errorf("Boot(%q) printed a secret", c.args)
			}
		})
	}
	if _, err := conf.Boot(&strings.Builder{}, conf.Program{Name: "doord"}, []string{"-config", "/nowhere"}, &door{}, new(string)); err == nil {
		t.Error("Boot with a file that is not there = nil, want an error")
	}
}
