package app_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"kurir.dev/kit/app"
)

func TestLock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	unlock, err := app.Lock(dir)
	if err != nil {
		t.Fatalf("Lock(%q) = %v, want nil", dir, err)
	}
	if _, err := app.Lock(dir); !errors.Is(err, app.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Lock(%q) of a locked directory = %v, want ErrLocked and its name", dir, err)
	}
	if err := unlock(); err != nil {
		t.Fatalf("unlock() = %v", err)
	}
	again, err := app.Lock(dir)
	if err != nil {
		t.Fatalf("Lock(%q) of an unlocked directory = %v, want nil", dir, err)
	}
	if err := again(); err != nil {
		t.Errorf("unlock() = %v", err)
	}
}
