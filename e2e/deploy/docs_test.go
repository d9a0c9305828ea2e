package deploy_test

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// generated compares a generated document with the one in the repository, or
// with -update puts it there.
func generated(t *testing.T, want []byte, file string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(path.Dir(repo(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(repo(file), want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(repo(file))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is stale, run `go test ./e2e/deploy -update` (-want +got):\n%s", file, diff)
	}
}

// TestErrorDoc generates docs/errors.md from the reasons' proto file.
func TestErrorDoc(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString(errorDocHead)
	value := regexp.MustCompile(`^  REASON_(\w+) = (\d+);$`)
	var comment []string
	for line := range strings.Lines(string(read(t, "proto/kurir/fault/v1/reason.proto"))) {
		line = strings.TrimRight(line, "\n")
		if text, ok := strings.CutPrefix(line, "  // "); ok {
			comment = append(comment, text)
			continue
		}
		if m := value.FindStringSubmatch(line); len(m) == 3 && m[2] != "0" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", m[1], strings.Join(comment, " "))
		}
		comment = nil
	}
	generated(t, b.Bytes(), "docs/errors.md")
}

const errorDocHead = `# Errors

<!-- Generated from proto/kurir/fault/v1/reason.proto by go test ./e2e/deploy -update. -->

Every refusal is a gRPC status with a ` + "`google.rpc.ErrorInfo`" + `: its domain is
` + "`<service>.kurir`" + `, its reason one of the names below with the prefix ` + "`REASON_`" + `.
The status code says what a caller can do:

| code | other details | the caller |
|---|---|---|
| ` + "`INVALID_ARGUMENT`" + ` | ` + "`BadRequest`" + ` names each field | mends the request |
| ` + "`UNAUTHENTICATED`, `PERMISSION_DENIED`" + ` | | stops |
| ` + "`NOT_FOUND`, `ALREADY_EXISTS`" + ` | ` + "`ResourceInfo`" + ` | decides |
| ` + "`FAILED_PRECONDITION`" + ` | ` + "`PreconditionFailure`" + ` | changes something first |
| ` + "`ABORTED`" + ` | | repeats the whole operation |
| ` + "`RESOURCE_EXHAUSTED`" + ` | ` + "`QuotaFailure`, `RetryInfo`" + ` | waits as long as it is told |
| ` + "`UNAVAILABLE`" + ` | ` + "`RetryInfo`" + ` | tries again, later and later |
| ` + "`UNIMPLEMENTED`" + ` | | waits for a later version |
| ` + "`INTERNAL`" + ` | the trace id is in the metadata | tells us |

Repeating a call that sends is always safe under the same idempotency key.

| reason | meaning |
|---|---|
`

// TestLinks follows the links between the documents.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, file := range find(t, ".", ".md") {
		for _, m := range link.FindAllStringSubmatch(string(read(t, file)), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if u.Scheme == "" && u.Path != "" {
				exists(t, file, path.Join(path.Dir(file), u.Path))
			}
		}
	}
}

// TestDecisions keeps the records short and in the index.
func TestDecisions(t *testing.T) {
	t.Parallel()
	index := string(read(t, "docs/adr/README.md"))
	for _, file := range find(t, "docs/adr", ".md") {
		name, text := path.Base(file), read(t, file)
		if name == "README.md" {
			continue
		}
		if lines := bytes.Count(text, []byte("\n")); lines > 40 {
			t.Errorf("%s has %d lines, want at most 40", file, lines)
		}
		if !strings.Contains(index, "("+name+")") {
			t.Errorf("%s is not in the index", file)
		}
		for _, part := range []string{"## Context", "## Decision", "## Consequences"} {
			if !bytes.Contains(text, []byte(part)) {
				t.Errorf("%s has no %q", file, part)
			}
		}
	}
}
