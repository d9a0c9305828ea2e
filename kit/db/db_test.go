package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"kurir.dev/kit/app"
	"kurir.dev/kit/db"
	"kurir.dev/kit/dbtest"
)

func both(version int, sql string) db.Migration {
	return db.Migration{Version: version, SQLite: sql, Postgres: sql}
}

func migrations() []db.Migration {
	return []db.Migration{
		both(1, "CREATE TABLE item (id TEXT PRIMARY KEY, n INTEGER NOT NULL); CREATE TABLE other (x TEXT UNIQUE)"),
		both(2, "INSERT INTO item (id, n) VALUES ('seed?', 0)"),
	}
}

func open(t *testing.T, url string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), url, migrations())
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

func count(t *testing.T, d *db.DB, where string, args ...any) int {
	t.Helper()
	var n int
	if err := d.R.QueryRowContext(t.Context(), d.Rebind("SELECT count(*) FROM item WHERE "+where), args...).Scan(&n); err != nil {
		t.Fatalf("counting %s: %v", where, err)
	}
	return n
}

func TestOpenMigrates(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		open(t, url)
		d := open(t, url) // nothing is applied twice
		if d.Postgres() == strings.HasPrefix(url, "sqlite:") {
			t.Errorf("Postgres() = %v for %.8s", d.Postgres(), url)
		}
		if got := count(t, d, "id = 'seed?' AND n = ?", 0); got != 1 {
			t.Errorf("%d seeds, want 1", got)
		}
		ctx := t.Context()
		var newer *db.NewerError
		if _, err := db.Open(ctx, url, migrations()[:1]); !errors.As(err, &newer) || newer.Have != 2 || newer.Know != 1 {
			t.Errorf("Open by an older program = %v, want NewerError{2, 1}", err)
		}
		var foreign *db.ForeignError
		if _, err := db.Open(ctx, url, []db.Migration{both(1, "CREATE TABLE mine (x TEXT)")}); !errors.As(err, &foreign) || foreign.Version != 1 {
			t.Errorf("Open by another service = %v, want ForeignError{1}", err)
		}
		if _, err := db.Open(ctx, url, append(migrations(), both(3, "CREATE TABLE good (x TEXT)"), both(4, "CREATE nonsense"))); err == nil {
			t.Error("Open with a broken migration = nil, want an error")
		}
		open(t, url) // ... which left nothing behind
		if _, err := db.Open(ctx, url, []db.Migration{both(2, "")}); err == nil {
			t.Error("Open with a gap in the versions = nil, want an error")
		}
	})
}

func TestOpenConcurrent(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				d, err := db.Open(t.Context(), url, migrations())
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				if err := d.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		wg.Wait()
		if got := count(t, open(t, url), "1 = 1"); got != 1 {
			t.Errorf("%d seeds, want 1", got)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("this is no database, however long one looks at it"), 0o600); err != nil {
		t.Fatalf("writing: %v", err)
	}
	for _, url := range []string{"", "x.db", "mysql://x", "sqlite:", "sqlite::memory:", "sqlite:" + dir, "sqlite:" + file, "postgres://127.0.0.1:1/x?connect_timeout=1"} {
		if _, err := db.Open(t.Context(), url, nil); err == nil {
			t.Errorf("Open(%q) = nil, want an error", url)
		}
	}
	var unwritable *app.DirectoryError
	if _, err := db.Open(t.Context(), "sqlite:"+file+"/below/x.db", nil); !errors.As(err, &unwritable) {
		t.Errorf("Open below a file = %v, want DirectoryError", err)
	}
	if os.Geteuid() != 0 { // root writes everywhere
		closed := filepath.Join(dir, "closed")
		if err := os.Mkdir(closed, 0o500); err != nil {
			t.Fatalf("Mkdir: %v", err)
		}
		if _, err := db.Open(t.Context(), "sqlite:"+closed+"/x.db", nil); !errors.As(err, &unwritable) || unwritable.Dir != closed {
			t.Errorf("Open in a closed directory = %v, want DirectoryError", err)
		}
	}
}

func TestSQLiteSettings(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "odd name?#%20.db")
	d := open(t, "sqlite:"+path)
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(path + suffix); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 600", suffix, info, err)
		}
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		if err := d.W.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("PRAGMA %s = %q, %v, want %q", pragma, got, err, want)
		}
	}
	if _, err := d.R.ExecContext(t.Context(), "DELETE FROM item"); err == nil {
		t.Error("the read pool wrote")
	}
}

func TestRebind(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		d := open(t, url)
		const q = `SELECT '?''?', "a?" FROM x WHERE y = ? AND z IN (?,?)`
		want := q
		if d.Postgres() {
			want = `SELECT '?''?', "a?" FROM x WHERE y = $1 AND z IN ($2,$3)`
		}
		if got := d.Rebind(q); got != want {
			t.Errorf("Rebind(%q) = %q, want %q", q, got, want)
		}
	})
}

func TestTx(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		d, ctx := open(t, url), t.Context()
		insert := func(tx *sql.Tx, id string) error {
			_, err := tx.ExecContext(ctx, d.Rebind("INSERT INTO item (id, n) VALUES (?, ?)"), id, 1)
			return err
		}
		if err := d.Tx(ctx, func(tx *sql.Tx) error { return insert(tx, "a") }); err != nil {
			t.Fatalf("Tx: %v", err)
		}
		broken := errors.New("broken")
		if err := d.Tx(ctx, func(tx *sql.Tx) error { return errors.Join(insert(tx, "b"), broken) }); !errors.Is(err, broken) {
			t.Errorf("Tx = %v, want %v", err, broken)
		}
		func() {
			defer func() { _ = recover() }()
			_ = d.Tx(ctx, func(tx *sql.Tx) error { _ = insert(tx, "c"); panic("broken") })
		}()
		if got := count(t, d, "n = 1"); got != 1 {
			t.Errorf("%d rows, want 1: a and nothing rolled back", got)
		}
		err := d.Tx(ctx, func(tx *sql.Tx) error { return insert(tx, "a") })
		if !db.Unique(err) || db.Retryable(err) {
			t.Errorf("a second a = %v: Unique %v, Retryable %v, want true, false", err, db.Unique(err), db.Retryable(err))
		}
		if !db.Refused(err) {
			t.Errorf("Refused(%v) = false, want true", err)
		}
		if db.Unique(broken) || db.Retryable(broken) || db.Unique(nil) || db.Refused(broken) || db.Refused(nil) {
			t.Error("Unique, Retryable or Refused took another error")
		}
		_, err = d.W.ExecContext(ctx, d.Rebind("INSERT INTO nowhere (id) VALUES (?)"), "x")
		if err == nil || db.Refused(err) {
			t.Errorf("Refused(%v) = true, want an error that is not about the data", err)
		}
	})
}

// A disk without room is no verdict on the data, and no reason to try again at
// once.
func TestFull(t *testing.T) {
	t.Parallel()
	d, ctx := open(t, "sqlite:"+filepath.Join(t.TempDir(), "full.db")), t.Context()
	insert := func() error {
		return d.Tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO item (id, n) VALUES (hex(randomblob(5000)), 1)")
			return err
		})
	}
	if err := insert(); err != nil || db.Full(err) {
		t.Fatalf("insert = %v, Full %v, want nil, false", err, db.Full(err))
	}
	if _, err := d.W.ExecContext(ctx, "PRAGMA max_page_count = 1"); err != nil { // that is, as many as there are
		t.Fatal(err)
	}
	if err := insert(); !db.Full(err) || db.Refused(err) || db.Retryable(err) {
		t.Errorf("insert without room = %v: Full %v, Refused %v, Retryable %v, want true, false, false",
			err, db.Full(err), db.Refused(err), db.Retryable(err))
	}
}

// Two programs that add to one row at once: nothing is lost, whatever the
// database asks to repeat.
func TestTxConcurrent(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		stores := []*db.DB{open(t, url), open(t, url)}
		const workers, rounds = 4, 10
		var wg sync.WaitGroup
		for w := range workers {
			d := stores[w%len(stores)]
			wg.Go(func() {
				for range rounds {
					if err := add(t.Context(), d); err != nil {
						t.Errorf("adding: %v", err)
					}
				}
			})
		}
		wg.Wait()
		if got := count(t, stores[0], "n = ?", workers*rounds); got != 1 {
			t.Errorf("the sum is not %d", workers*rounds)
		}
	})
}

func add(ctx context.Context, d *db.DB) error {
	return d.Tx(ctx, func(tx *sql.Tx) error {
		lock := ""
		if d.Postgres() {
			lock = " FOR UPDATE"
		}
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT n FROM item WHERE id = 'seed?'"+lock).Scan(&n); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, d.Rebind("UPDATE item SET n = ? WHERE id = 'seed?'"), n+1)
		return err
	})
}

// A serialization failure is what PostgreSQL answers under a stricter level;
// Tx runs the function again.
func TestTxRetriesSerializationFailure(t *testing.T) {
	t.Parallel()
	d, ctx := open(t, dbtest.Postgres(t)), t.Context()
	tries := 0
	err := d.Tx(ctx, func(tx *sql.Tx) error {
		tries++
		if _, err := tx.ExecContext(ctx, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT n FROM item WHERE id = 'seed?'").Scan(&n); err != nil {
			return err
		}
		if tries == 1 { // somebody else is faster
			if _, err := d.R.ExecContext(ctx, "UPDATE item SET n = 41 WHERE id = 'seed?'"); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "UPDATE item SET n = $1 WHERE id = 'seed?'", n+1)
		return err
	})
	if err != nil || tries != 2 {
		t.Fatalf("Tx = %v after %d tries, want nil after 2", err, tries)
	}
	if got := count(t, d, "n = 42"); got != 1 {
		t.Error("the second try did not read anew")
	}
	tries = 0
	err = d.Tx(ctx, func(tx *sql.Tx) error {
		tries++
		_, err := tx.ExecContext(ctx, "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$")
		return err
	})
	if !db.Retryable(err) || tries != 8 {
		t.Errorf("Tx that never succeeds = %v after %d tries, want a serialization failure after 8", err, tries)
	}
}

func ExampleGroup() {
	g := db.NewGroup(100, func(_ context.Context, batch []string) ([]int, error) {
		lengths := make([]int, len(batch)) // one transaction for all of them
		for i, s := range batch {
			lengths[i] = len(s)
		}
		return lengths, nil
	})
	part, ctx := g.Part(), context.Background()
	_ = part.Start(ctx)
	n, err := g.Do(ctx, "mail")
	fmt.Println(n, err, part.Stop(ctx))
	// Output: 4 <nil> <nil>
}
