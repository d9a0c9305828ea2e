package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rfc is a row of docs/rfc.md.
type rfc struct {
	state    string
	packages []string // folders that cite it
}

var (
	citation = regexp.MustCompile(`RFC (\d{3,5})\b`)
	row      = regexp.MustCompile(`^\| (\d+) \| [^|]+ \| (\w+) \|([^|]*)\|$`)
	folder   = regexp.MustCompile("`([a-z0-9/]+)`")
)

// index reads docs/rfc.md: number | title | state | packages.
func index(t *testing.T) map[string]rfc {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "rfc.md"))
	if err != nil {
		t.Fatalf("reading the index: %v", err)
	}
	rows := map[string]rfc{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		m := row.FindStringSubmatch(line)
		if m == nil {
			if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| RFC") {
				t.Errorf("docs/rfc.md: %q is not number | title | state | packages", line)
			}
			continue
		}
		if _, twice := rows[m[1]]; twice {
			t.Errorf("docs/rfc.md lists RFC %s twice", m[1])
		}
		if !slices.Contains([]string{"Yes", "Partial", "No"}, m[2]) {
			t.Errorf("docs/rfc.md: RFC %s is %q: want Yes, Partial or No", m[1], m[2])
		}
		entry := rfc{state: m[2]}
		for _, p := range folder.FindAllStringSubmatch(m[3], -1) {
			entry.packages = append(entry.packages, p[1])
		}
		rows[m[1]] = entry
	}
	return rows
}

func TestRFCIndex(t *testing.T) {
	t.Parallel()
	rows := index(t)
	cited := map[string][]string{} // number: folders
	for _, s := range sources(t) {
		for _, m := range citation.FindAllSubmatch(s.text, -1) {
			number := string(m[1])
			if _, listed := rows[number]; !listed {
				t.Errorf("%s cites RFC %s, which docs/rfc.md does not list", s.path, number)
			}
			if !s.isTest() {
				cited[number] = append(cited[number], s.dir())
			}
		}
	}
	for number, entry := range rows {
		if entry.state == "No" {
			if len(entry.packages) > 0 {
				t.Errorf("docs/rfc.md: RFC %s is not implemented and names packages", number)
			}
			continue
		}
		if len(entry.packages) == 0 {
			t.Errorf("docs/rfc.md: RFC %s is %s and names no package", number, entry.state)
		}
		for _, p := range entry.packages {
			if !slices.ContainsFunc(cited[number], func(dir string) bool { return dir == p || strings.HasPrefix(dir, p+"/") }) {
				t.Errorf("docs/rfc.md: RFC %s is %s in %s, where no code cites it", number, entry.state, p)
			}
		}
	}
}
