package deploy_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestDockerfile checks what a build would only find out with a container
// engine at hand: that the context holds what the build needs, and that each
// service has the program the Dockerfile compiles.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	file := string(read(t, "deploy/Dockerfile"))
	for _, want := range []string{"ARG SERVICE", "CGO_ENABLED=0", "GOWORK=off", "USER 65532:65532", `"services/$SERVICE"`, `"./cmd/${SERVICE}d"`} {
		if !strings.Contains(file, want) {
			t.Errorf("Dockerfile has no %s", want)
		}
	}
	allowed := make(map[string]bool)
	for line := range strings.Lines(string(read(t, ".dockerignore"))) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			exists(t, ".dockerignore", path)
			allowed[path] = true
		}
	}
	for _, s := range append(services(), "kurir") {
		dir := "services/" + s
		if s == "kurir" {
			dir = "cmd/kurir"
		} else {
			exists(t, s, dir+"/cmd/"+s+"d/main.go")
		}
		for _, m := range regexp.MustCompile(`(?m)^\t\S+ => ((?:\.\./)+)(\S+)$`).FindAllStringSubmatch(string(read(t, dir, "go.mod")), -1) {
			if top, _, _ := strings.Cut(m[2], "/"); !allowed[top] {
				t.Errorf("%s needs %s, which .dockerignore keeps out of the build", s, m[2])
			}
		}
	}
}
