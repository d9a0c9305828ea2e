package house_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one hand-written Go file.
type source struct {
	path string // from the repository's root, with slashes
	text []byte
}

func (s source) dir() string  { return filepath.ToSlash(filepath.Dir(s.path)) }
func (s source) base() string { return filepath.Base(s.path) }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// root is where go.work lies.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("finding the root: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.work above this package")
		}
		dir = filepath.Dir(dir)
	}
}

// sources reads every Go file that was not generated.
func sources(t *testing.T) []source {
	t.Helper()
	top := root(t)
	var out []source
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != top && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if rel, err := filepath.Rel(top, path); err == nil && !generated.Match(text) {
			out = append(out, source{path: filepath.ToSlash(rel), text: text})
		}
		return nil
	})
	if err != nil {
		t.Fatalf("reading the repository: %v", err)
	}
	if len(out) < 10 {
		t.Fatalf("found %d Go files: this is not the repository", len(out))
	}
	return out
}

// parse reads a file's package clause and imports; nil if even those are
// broken, which the compiler will say better.
func parse(s source) *ast.File {
	f, err := parser.ParseFile(token.NewFileSet(), s.path, s.text, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return nil
	}
	return f
}

func TestFilesAreSmall(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		limit := 600
		if s.isTest() {
			limit = 800
		}
		if n := bytes.Count(s.text, []byte{'\n'}); n > limit {
			t.Errorf("%s has %d lines, more than %d: split it by what it does", s.path, n, limit)
		}
	}
}

func TestNamesArePlain(t *testing.T) {
	t.Parallel()
	vague := []string{
		"adapter", "adapters", "base", "common", "core", "helper", "helpers", "lib", "libs", "manager", "managers", "misc",
		"models", "ports", "shared", "types", "util", "utils",
	}
	plain := regexp.MustCompile(`^[a-z][a-z0-9]*$`)
	system := regexp.MustCompile(`_(linux|darwin|windows|unix|freebsd|amd64|arm64)$`)
	for _, s := range sources(t) {
		if f := parse(s); f != nil {
			name := strings.TrimSuffix(f.Name.Name, "_test")
			if slices.Contains(vague, name) || !plain.MatchString(name) {
				t.Errorf("%s: package %s: name it after what it provides, one lower-case word", s.path, name)
			}
		}
		stem := strings.TrimSuffix(strings.TrimSuffix(s.base(), ".go"), "_test")
		stem = system.ReplaceAllString(stem, "")
		if s.isTest() { // a test of what is not exported
			stem = strings.TrimSuffix(stem, "_internal")
		}
		if slices.Contains(vague, stem) || !plain.MatchString(stem) {
			t.Errorf("%s: name a file with one lower-case word, after its main type", s.path)
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	for _, s := range sources(t) {
		// deps.go only keeps modules in go.mod; it makes no package.
		f := parse(s)
		if f == nil || s.isTest() || s.base() == "deps.go" {
			continue
		}
		said[s.dir()] = said[s.dir()] || f.Doc.Text() != ""
	}
	for dir, ok := range said {
		if !ok {
			t.Errorf("%s: no file has a package comment", dir)
		}
	}
}

// TestWallsBetweenFolders checks who imports whom, tests included.
func TestWallsBetweenFolders(t *testing.T) {
	t.Parallel()
	pure := []string{"kit/backoff", "kit/fault", "kit/lane", "kit/mailaddr"}
	for _, s := range sources(t) {
		f := parse(s)
		if f == nil {
			continue
		}
		for _, spec := range f.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue
			}
			inside, ours := strings.CutPrefix(target, "kurir.dev/")
			if why := wall(s, inside); ours && why != "" {
				t.Errorf("%s imports %s: %s", s.path, target, why)
			}
			if slices.Contains(pure, s.dir()) && !s.isTest() && impure(target) {
				t.Errorf("%s imports %s: services' domains use this package, and they hold no transport or store", s.path, target)
			}
		}
	}
}

func wall(s source, target string) (why string) {
	owner, other := service(s.path), service(target)
	top, _, _ := strings.Cut(target, "/")
	switch {
	case owner != "" && other != "" && owner != other:
		return "services meet only in proto and Kafka"
	case strings.HasPrefix(s.path, "kit/") && top != "kit" && top != "proto":
		return "kit knows only proto"
	case owner != "" && (top == "cmd" || top == "e2e" || top == "bench"):
		return "a service knows only kit and proto"
	case strings.HasPrefix(s.path, "proto/") && top != "proto":
		return "proto knows nobody"
	case (top == "e2e" || top == "bench") && !strings.HasPrefix(s.path, top+"/"):
		return "nobody imports scenarios and benchmarks"
	case !s.isTest() && !strings.HasSuffix(s.dir(), "test") && strings.HasSuffix(target, "test") && !strings.HasPrefix(s.path, "e2e/"):
		return "test support stays in tests"
	}
	return ""
}

// service is the name of the service that path belongs to, or "".
func service(path string) string {
	parts := strings.Split(path, "/")
	if len(parts) < 2 || parts[0] != "services" {
		return ""
	}
	return parts[1]
}

func impure(target string) bool {
	for _, prefix := range []string{
		"google.golang.org/grpc", "database/sql", "github.com/jackc/", "modernc.org/", "github.com/segmentio/", "github.com/twmb/",
		"go.opentelemetry.io/", "net/http", "kurir.dev/kit/db", "kurir.dev/kit/rpc", "kurir.dev/kit/broker",
	} {
		if strings.HasPrefix(target, prefix) {
			return true
		}
	}
	return false
}
