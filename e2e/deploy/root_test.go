package deploy_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// update rewrites the generated documents instead of comparing them.
var update = flag.Bool("update", false, "rewrite generated documents")

// root is the repository, seen from this package's directory, in which go test
// runs it.
const root = "../.."

// services are what deploy/ runs.
func services() []string { return []string{"composer", "dispatcher", "router", "tracker"} }

// repo returns a path of the repository as the test process sees it.
func repo(path ...string) string { return filepath.Join(append([]string{root}, path...)...) }

// read returns a file of the repository.
func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(repo(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exists fails the test unless the path leads to something in the repository.
func exists(t *testing.T, what, path string) {
	t.Helper()
	if _, err := os.Stat(repo(path)); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// strict decodes one YAML document into v and allows no key v has no field for.
func strict(t *testing.T, v any, path ...string) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(read(t, path...)))
	d.KnownFields(true)
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", filepath.Join(path...), err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		t.Fatalf("%s: more than one document (%v)", filepath.Join(path...), err)
	}
}

// find returns the files under dir with the given ending, relative to the
// repository, and leaves out what is not ours or not kept.
func find(t *testing.T, dir, ending string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(repo(dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "node_modules" || name == "kurir-data" || name != ".." && strings.HasPrefix(name, ".") && name != ".ci") {
			return fs.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(name, ending) {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			found = append(found, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}
