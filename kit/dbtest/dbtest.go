// Package dbtest gives a test an empty store: a SQLite file in a temporary
// directory, or a schema of its own in PostgreSQL.
//
// PostgreSQL is the server KURIR_TEST_PG names (a postgres:// URL of a role
// that may create schemas) or else a private cluster, started once per test
// process from the binaries Debian installs. Where there is neither, tests
// that want it are skipped; with CI=true they fail instead.
//
// It is for tests alone and imports testing.
package dbtest

import (
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
)

// Run runs f as subtest "sqlite" and as subtest "postgres", each with the URL
// of an empty store for db.Open. f may call t.Parallel.
func Run(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, Postgres(t)) })
}

// SQLite is the URL of a file that does not exist yet, removed with the test.
func SQLite(tb testing.TB) string {
	tb.Helper()
	return "sqlite:" + filepath.Join(tb.TempDir(), "store", "kurir.db")
}

// Postgres is the URL of an empty schema, dropped with the test.
func Postgres(tb testing.TB) string {
	tb.Helper()
	base := os.Getenv("KURIR_TEST_PG")
	if base == "" {
		own, err := cluster()
		if err != nil {
			if os.Getenv("CI") == "true" {
				tb.Fatalf("dbtest: no PostgreSQL to test with: %v", err)
			}
			tb.Skipf("no PostgreSQL to test with: set KURIR_TEST_PG or install the server (%v)", err)
		}
		base = own.url
	}
	u, err := url.Parse(base)
	if err != nil {
		tb.Fatal("dbtest: KURIR_TEST_PG is not a URL") // it may hold a password
	}
	schema := "kurir_test_" + random()
	admin, err := sql.Open("pgx", base)
	if err != nil {
		tb.Fatalf("dbtest: %v", err)
	}
	tb.Cleanup(func() {
		// tb.Context has ended by now.
		if _, err := admin.Exec("DROP SCHEMA " + schema + " CASCADE"); err != nil {
			tb.Errorf("dbtest: dropping schema: %v", err)
		}
		_ = admin.Close()
	})
	admin.SetMaxOpenConns(1)
	if _, err := admin.ExecContext(tb.Context(), "CREATE SCHEMA "+schema); err != nil {
		tb.Fatalf("dbtest: creating schema: %v", err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func random() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
