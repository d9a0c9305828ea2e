package dbtest_test

import (
	"testing"

	"kurir.dev/kit/db"
	"kurir.dev/kit/dbtest"
)

func TestRunGivesEmptyStores(t *testing.T) {
	t.Parallel()
	migrations := []db.Migration{{Version: 1, SQLite: "CREATE TABLE a (x INTEGER)", Postgres: "CREATE TABLE a (x INTEGER)"}}
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		for range 2 { // the second Open finds what the first made
			d, err := db.Open(t.Context(), url, migrations)
			if err != nil {
				t.Fatalf("Open: %v", err)
			}
			if err := d.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if other := dbtest.SQLite(t); other == url {
			t.Errorf("SQLite(t) = %q twice", url)
		}
	})
}
