package db_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"kurir.dev/kit/db"
	"kurir.dev/kit/dbtest"
)

// TestInherit: whoever opens a SQLite store that nobody has open inherits, and
// nobody else does.
func TestInherit(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		inherited := 0
		enter := func() *db.DB {
			d, err := db.Open(t.Context(), url, migrations(), func(ctx context.Context, d *db.DB) error {
				inherited++
				_, err := d.W.ExecContext(ctx, "UPDATE item SET n = n + 1") // migrated already
				return err
			})
			if err != nil {
				t.Fatalf("Open() = %v", err)
			}
			return d
		}
		leave := func(d *db.DB) {
			if err := d.Close(); err != nil {
				t.Fatalf("Close() = %v", err)
			}
		}
		want := 0
		check := func(what string, more int) {
			t.Helper()
			if strings.HasPrefix(url, "sqlite:") {
				want += more
			}
			if inherited != want {
				t.Errorf("%s: inherited %d times, want %d", what, inherited, want)
			}
		}
		a := enter()
		check("the first", 1)
		b := enter()
		check("beside another", 0)
		leave(a)
		c := enter()
		check("beside one that was there before", 0)
		leave(b)
		leave(c)
		d := enter()
		check("after all have left", 1)
		if got := count(t, d, "n = ?", want); got != 1 {
			t.Errorf("%d rows were changed %d times, want 1", got, want)
		}
		leave(d)
	})
}

// TestInheritAlone: nobody is let in while another inherits, and everybody is
// after, even if that failed.
func TestInheritAlone(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	asked := false
	a, err := db.Open(t.Context(), url, migrations(), func(ctx context.Context, _ *db.DB) error {
		asked = true
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if d, err := db.Open(ctx, url, nil); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "locking store") {
			t.Errorf("Open() while another inherits = %v, %v, want to wait for the lock", d, err)
		}
		return errors.New("the disk is full")
	})
	if err != nil || !asked {
		t.Fatalf("Open() = %v, inherited %v", err, asked)
	}
	open(t, url)
	if err := a.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}
