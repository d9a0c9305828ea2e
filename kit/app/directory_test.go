package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kurir.dev/kit/app"
)

func TestDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := app.Directory(dir); err != nil {
		t.Fatalf("Directory(%q) = %v, want nil", dir, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("Directory(%q) left %v, %v, want nothing", dir, left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(file, "below")
	err := app.Directory(below)
	var refused *app.DirectoryError
	if !errors.As(err, &refused) || !errors.Is(err, syscall.ENOTDIR) || !strings.Contains(err.Error(), below) {
		t.Errorf("Directory(%q) = %v, want a DirectoryError that names it", below, err)
	}
}
