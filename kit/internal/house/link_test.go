package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// links answers all packages that the binary in dir is linked from.
func links(t *testing.T, dir string) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "./"+dir)
	list.Dir = root(t)
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list -deps ./%s: %v", dir, err)
	}
	return strings.Fields(string(out))
}

// TestBinariesLink keeps out of each binary what it has no business with.
func TestBinariesLink(t *testing.T) {
	t.Parallel()
	type ban struct{ prefix, why string }
	everywhere := []ban{
		{"testing", "testing adds flags and code to a binary; test support lives in packages of its own"},
		{"kurir.dev/kit/dbtest", "it is for tests"},
		{"github.com/google/go-cmp", "it is for tests and panics where it likes"},
	}
	embedded := ban{"kurir.dev/kit/broker/embedded", "the embedded broker belongs to the all-in-one binary"}
	simulator := ban{"kurir.dev/kit/mxsim", "the simulated internet belongs to demo, tests and benchmarks"}
	smtp := ban{"github.com/emersion/go-smtp", "only the dispatcher sends mail"}
	dkim := ban{"github.com/emersion/go-msgauth", "only the dispatcher signs mail"}
	store := ban{"kurir.dev/kit/db", "it keeps no store"}
	bans := map[string][]ban{
		"services/composer/cmd/composerd":     {embedded, simulator, smtp, dkim, store},
		"services/router/cmd/routerd":         {embedded, simulator, smtp, dkim},
		"services/dispatcher/cmd/dispatcherd": {embedded, simulator, store},
		"services/tracker/cmd/trackerd":       {embedded, simulator, smtp, dkim},
	}
	for _, dir := range binaries(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			deps := links(t, dir)
			for _, b := range append(slices.Clone(everywhere), bans[dir]...) {
				for _, d := range deps {
					if d == b.prefix || b.prefix != "testing" && strings.HasPrefix(d, b.prefix+"/") {
						t.Errorf("%s links %s: %s", dir, d, b.why)
					}
				}
			}
		})
	}
}

// binaries are the folders of all main packages but those of the tools.
func binaries(t *testing.T) []string {
	t.Helper()
	var dirs []string
	for _, s := range sources(t) {
		if f := parse(s); f != nil && f.Name.Name == "main" && !s.isTest() && !strings.HasPrefix(s.path, "tools/") && !slices.Contains(dirs, s.dir()) {
			dirs = append(dirs, s.dir())
		}
	}
	return dirs
}

// TestModulesAgree checks that the modules ask for the same versions: the
// workspace would hide it, and each module alone would build something else.
func TestModulesAgree(t *testing.T) {
	t.Parallel()
	top := root(t)
	work, err := os.ReadFile(filepath.Join(top, "go.work"))
	if err != nil {
		t.Fatalf("reading go.work: %v", err)
	}
	require := regexp.MustCompile(`(?m)^(?:require )?\s*([\w.-]+\.[\w.-]+/\S+) (v\S+)`)
	language := regexp.MustCompile(`(?m)^go \S+$`)
	wanted := string(language.Find(work))
	if wanted == "" {
		t.Fatal("go.work has no go line")
	}
	type use struct{ version, by string }
	uses := map[string]use{}
	for _, m := range regexp.MustCompile(`(?m)^\s*(?:use )?(\./\S+)$`).FindAllSubmatch(work, -1) {
		module := strings.TrimPrefix(string(m[1]), "./")
		text, err := os.ReadFile(filepath.Join(top, module, "go.mod"))
		if err != nil {
			t.Errorf("go.work uses %s: %v", module, err)
			continue
		}
		if got := string(language.Find(text)); got != wanted {
			t.Errorf("%s/go.mod says %q and go.work %q", module, got, wanted)
		}
		if strings.Contains(string(text), "\ntoolchain ") {
			t.Errorf("%s/go.mod has a toolchain line: the go line is enough", module)
		}
		for _, r := range require.FindAllSubmatch(text, -1) {
			path, version := string(r[1]), string(r[2])
			if first, ok := uses[path]; ok && first.version != version {
				t.Errorf("%s wants %s %s, %s wants %s", first.by, path, first.version, module, version)
			} else if !ok {
				uses[path] = use{version, module}
			}
		}
	}
	if len(uses) < 10 {
		t.Errorf("found %d requirements in the modules: the test reads them wrongly", len(uses))
	}
}
