package deploy_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestConfig has each daemon read its deployed configuration, and checks that
// the example in docs/config is what it would run with if it had none.
func TestConfig(t *testing.T) {
	t.Parallel()
	c := compose(t)
	for _, s := range services() {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			bin := filepath.Join(t.TempDir(), s+"d")
			if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "kurir.dev/services/"+s+"/cmd/"+s+"d").CombinedOutput(); err != nil {
				t.Fatalf("building %sd: %v\n%s", s, err, out)
			}
			check := exec.CommandContext(t.Context(), bin, "-check", "-config", repo("deploy/config", s+".yaml"))
			check.Env = append(check.Environ(), environment(c.Services[s])...)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%sd -check: %v\n%s", s, err, out)
			}
			effective, err := exec.CommandContext(t.Context(), bin, "-print").Output()
			if err != nil {
				t.Fatalf("%sd -print: %v", s, err)
			}
			generated(t, effective, "docs/config/"+s+".yaml")
		})
	}
}

func environment(c *container) []string {
	var all []string
	for name, value := range c.Environment {
		all = append(all, name+"="+value)
	}
	slices.Sort(all)
	return all
}
