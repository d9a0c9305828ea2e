package db

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Migration is one step of a schema, in both dialects; each may hold several
// statements. A step that has shipped is never edited: add another.
type Migration struct {
	// Version counts 1, 2, 3 ... without gaps.
	Version int
	// SQLite and Postgres are the statements of the step in either dialect.
	SQLite string
	// Postgres is what PostgreSQL runs; see SQLite.
	Postgres string
}

// NewerError is a store whose schema this program does not know yet.
type NewerError struct {
	// Have is the store's schema version, Know the newest this program knows.
	Have, Know int
}

// Error says what to do.
func (e *NewerError) Error() string {
	return fmt.Sprintf("store has schema version %d and this program knows %d: run the newer program that wrote it, or restore a backup from before the upgrade", e.Have, e.Know)
}

// ForeignError is a store whose schema came from other migrations.
type ForeignError struct {
	// Version is the first step that differs.
	Version int
}

// Error says what to do.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("store's schema step %d is not this program's: give each service a database, schema or file of its own", e.Version)
}

// migrationLock is the advisory lock that keeps two replicas on PostgreSQL
// from migrating at once; SQLite's writer lock does the same.
const migrationLock = 0x6b75726972 // "kurir"

const versionTable = `CREATE TABLE IF NOT EXISTS schema_version (
	version    INTEGER PRIMARY KEY,
	checksum   TEXT NOT NULL,
	applied_at TEXT NOT NULL
)`

// migrate applies what the store lacks, all in one transaction.
func (d *DB) migrate(ctx context.Context, migrations []Migration) error {
	for i, m := range migrations {
		if m.Version != i+1 {
			return fmt.Errorf("migration %d of the list has version %d: want 1, 2, 3 ... without gaps", i+1, m.Version)
		}
	}
	return d.Tx(ctx, func(tx *sql.Tx) error {
		if d.postgres {
			if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
				return fmt.Errorf("locking the schema: %w", err)
			}
		}
		if _, err := tx.ExecContext(ctx, versionTable); err != nil {
			return fmt.Errorf("creating schema_version: %w", err)
		}
		have, err := d.applied(ctx, tx, migrations)
		if err != nil {
			return err
		}
		for _, m := range migrations[have:] {
			if err := d.apply(ctx, tx, m); err != nil {
				return err
			}
		}
		return nil
	})
}

// applied counts the steps the store has and checks that they are ours.
func (d *DB) applied(ctx context.Context, tx *sql.Tx, migrations []Migration) (have int, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT version, checksum FROM schema_version ORDER BY version`)
	if err != nil {
		return 0, fmt.Errorf("reading schema_version: %w", err)
	}
	defer func() { _ = rows.Close() }()
	foreign := 0
	for rows.Next() {
		var version int
		var checksum string
		if err := rows.Scan(&version, &checksum); err != nil {
			return 0, fmt.Errorf("reading schema_version: %w", err)
		}
		if foreign == 0 && version <= len(migrations) && checksum != d.checksum(migrations[version-1]) {
			foreign = version
		}
		have = version
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("reading schema_version: %w", err)
	}
	switch {
	case foreign > 0:
		return 0, &ForeignError{Version: foreign}
	case have > len(migrations):
		return 0, &NewerError{Have: have, Know: len(migrations)}
	}
	return have, nil
}

func (d *DB) apply(ctx context.Context, tx *sql.Tx, m Migration) error {
	if _, err := tx.ExecContext(ctx, d.statements(m)); err != nil {
		return fmt.Errorf("applying migration %d: %w", m.Version, err)
	}
	_, err := tx.ExecContext(ctx, d.Rebind(`INSERT INTO schema_version (version, checksum, applied_at) VALUES (?, ?, ?)`),
		m.Version, d.checksum(m), time.Now().UTC().Format(time.RFC3339))
	if err != nil {
		return fmt.Errorf("recording migration %d: %w", m.Version, err)
	}
	return nil
}

func (d *DB) statements(m Migration) string {
	if d.postgres {
		return m.Postgres
	}
	return m.SQLite
}

// checksum names a step's text, white space aside.
func (d *DB) checksum(m Migration) string {
	sum := sha256.Sum256([]byte(strings.Join(strings.Fields(d.statements(m)), " ")))
	return hex.EncodeToString(sum[:8])
}
