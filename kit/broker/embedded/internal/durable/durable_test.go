package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kurir.dev/kit/broker/embedded/internal/durable"
)

// holds checks the files of a directory.
func holds(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if _, ok := want[e.Name()]; !ok {
			t.Errorf("%s is there", e.Name())
		}
	}
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, text)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	for _, text := range []string{"first", "", "a longer second", "third"} {
		if err := durable.Write(name, []byte(text)); err != nil {
			t.Fatalf("Write(%q) = %v", text, err)
		}
		holds(t, dir, map[string]string{"a": text})
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
}

// TestCrash writes over what a crash in the middle of a write left.
func TestCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	for path, text := range map[string]string{name: "old", name + ".tmp": strings.Repeat("half ", 1000)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, dir, map[string]string{"a": "old", "a.tmp": strings.Repeat("half ", 1000)})
	if err := durable.Write(name, []byte("new")); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, map[string]string{"a": "new"})
}

// TestFault leaves the file as it was, and nothing beside it.
func TestFault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	if err := os.MkdirAll(filepath.Join(name, "in", "the", "way"), 0o700); err != nil { // of the rename
		t.Fatal(err)
	}
	if err := durable.Write(name, []byte("new")); err == nil {
		t.Error("Write() over a directory = nil")
	}
	if _, err := os.Stat(name + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the second file is left: %v", err)
	}
	if err := durable.Write(filepath.Join(dir, "none", "a"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Write() into no directory = %v, want fs.ErrNotExist", err)
	}
	if err := durable.SyncDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir() of none = %v, want fs.ErrNotExist", err)
	}
}
