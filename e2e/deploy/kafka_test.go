package deploy_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// TestEmbeddedOnly finds each test that does not run on Apache Kafka, with a
// reason: a name that is misspelt, or a test that is gone, would leave out
// nothing or hide one that comes.
func TestEmbeddedOnly(t *testing.T) {
	t.Parallel()
	var tests []byte
	for _, dir := range []string{"e2e", "kit/broker", "kit/custody"} {
		files, err := filepath.Glob(repo(dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", dir, err)
		}
		for _, file := range files {
			tests = append(tests, read(t, strings.TrimPrefix(file, root+"/"))...)
		}
	}
	for line := range strings.Lines(string(read(t, ".ci", "embedded-only"))) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !bytes.Contains(tests, []byte("func "+name+"(t *testing.T)")) || strings.TrimSpace(reason) == "" {
			t.Errorf(".ci/embedded-only names %q because %q, want a test that exists and a reason", name, reason)
		}
	}
}
