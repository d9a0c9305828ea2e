// Package db opens the stores of Kurir's services: SQLite in a file for one
// machine, PostgreSQL for more. Services write their SQL once, with "?" for
// parameters, and run it on either through [DB.Rebind].
//
// Opening a store:
//
//  1. A SQLite file's directory is created if missing and proven writable;
//     the file is readable by its owner alone.
//  2. The writer is set to lose nothing it has committed: SQLite runs with a
//     write-ahead log and synchronous=FULL; PostgreSQL keeps its own settings.
//  3. Migrations the store lacks are applied, each once, under a lock, all or
//     none. A store written by a newer program is refused with [*NewerError],
//     one of another service with [*ForeignError].
//  4. Whoever opens a SQLite file that nobody else has open inherits what dead
//     processes had claimed in it, before anybody else is let in.
//
// Each service needs a file, database or schema of its own: the table
// schema_version belongs to one list of migrations.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"

	"kurir.dev/kit/app"
)

// maxConns bounds each pool.
const maxConns = 16

// DB is an open store; safe for concurrent use.
type DB struct {
	// W writes: one connection on SQLite, a pool on PostgreSQL.
	W *sql.DB
	// R reads: a pool. On SQLite it sees what was committed when its query or
	// transaction began and refuses to write; on PostgreSQL it is W.
	R *sql.DB

	postgres bool
	presence *presence // nil on PostgreSQL
}

// Open opens the store at url, "sqlite:/path/x.db" or "postgres://...", and
// brings its schema up to the last of migrations. Close it in the end.
//
// The functions of inherit are called when no other process, and no other DB of
// this one, has the SQLite file open, nor can open it before they return: what
// is claimed or leased in it is then a dead process's, and can be let go. That
// one fails is no fault of the store, which opens all the same. On PostgreSQL
// they are never called.
func Open(ctx context.Context, url string, migrations []Migration, inherit ...func(ctx context.Context, d *DB) error) (*DB, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	var d *DB
	var alone bool
	var err error
	switch scheme {
	case "sqlite":
		d, alone, err = openSQLite(ctx, rest)
	case "postgres", "postgresql":
		d, err = openPostgres(url)
	default:
		return nil, fmt.Errorf("store url has scheme %q: want sqlite:/path/file.db or postgres://", scheme)
	}
	if err != nil {
		return nil, err
	}
	if err := d.W.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("reaching the %s store: %w", scheme, err), d.Close())
	}
	if err := d.migrate(ctx, migrations); err != nil {
		if !d.postgres { // its url may hold a password
			err = fmt.Errorf("%s: %w", rest, err)
		}
		return nil, errors.Join(err, d.Close())
	}
	if alone {
		for _, f := range inherit {
			_ = f(ctx, d) // on a full disk, say: then the claims end in their time
		}
		if err := d.presence.share(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("sharing store %s: %w", rest, err), d.Close())
		}
	}
	return d, nil
}

// openSQLite opens the file at path, and says whether nobody else has it open.
func openSQLite(ctx context.Context, path string) (d *DB, alone bool, err error) {
	path = strings.TrimPrefix(path, "//")
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return nil, false, errors.New("store url names no file: want sqlite:/path/file.db")
	}
	if err := app.Directory(filepath.Dir(path)); err != nil {
		return nil, false, err
	}
	// For its owner's eyes; what SQLite puts beside it takes the file's mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("opening store %s: %w", path, err)
	}
	if err := file.Close(); err != nil {
		return nil, false, fmt.Errorf("opening store %s: %w", path, err)
	}
	open := func(pragmas string, conns int) (*sql.DB, error) {
		pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(10000)"+pragmas)
		if err != nil {
			return nil, fmt.Errorf("opening store %s: %w", path, err)
		}
		pool.SetMaxOpenConns(conns)
		pool.SetMaxIdleConns(conns)
		return pool, nil
	}
	// _txlock=immediate: a transaction that will write takes the lock at BEGIN,
	// where busy_timeout can wait for it, not halfway, where nothing can.
	// Checkpoints of 800 KB instead of 4 MB: while one is written and synced,
	// whoever else needs the disk waits, an OTP's acknowledgement among them.
	w, err := open("&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(200)&_pragma=foreign_keys(1)&_txlock=immediate", 1)
	if err != nil {
		return nil, false, err
	}
	r, err := open("&_pragma=query_only(1)", max(4, runtime.NumCPU()))
	if err != nil {
		return nil, false, errors.Join(err, w.Close())
	}
	present, alone, err := enter(ctx, path)
	if err != nil {
		return nil, false, errors.Join(err, r.Close(), w.Close())
	}
	return &DB{W: w, R: r, presence: present}, alone, nil
}

func openPostgres(url string) (*DB, error) {
	pool, err := sql.Open("pgx", url)
	if err != nil {
		return nil, fmt.Errorf("opening the postgres store: %w", err)
	}
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns)
	return &DB{W: pool, R: pool, postgres: true}, nil
}

// Postgres says which dialect the store speaks: PostgreSQL, or else SQLite.
func (d *DB) Postgres() bool { return d.postgres }

// Close closes both pools, after the queries that run have ended.
func (d *DB) Close() error {
	if d.R == d.W {
		return d.W.Close()
	}
	return errors.Join(d.R.Close(), d.W.Close(), d.presence.leave())
}

// Rebind turns each "?" of q into $1, $2, ... for PostgreSQL and leaves q as
// it is for SQLite. Quoted text is passed over; a "?" operator cannot be had.
func (d *DB) Rebind(q string) string {
	if !d.postgres {
		return q
	}
	var b strings.Builder
	b.Grow(len(q) + 16)
	var quote byte
	for i, n := 0, 0; i < len(q); i++ {
		c := q[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '?':
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
