package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"kurir.dev/kit/backoff"
)

// maxTries bounds how often Tx runs its function.
const maxTries = 8

// Tx runs fn in a transaction on W and commits it; an error or panic of fn
// rolls it back. When the database asks for another go (serialization failure,
// deadlock, a busy file), fn runs again in a new transaction, up to eight
// times with growing waits: fn must have no effect outside tx, and must not
// use W, of which SQLite has one connection. An error of the commit itself
// that is not such a request means "unknown".
func (d *DB) Tx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	wait := backoff.Policy{Base: 5 * time.Millisecond, Max: 250 * time.Millisecond}
	for n := 1; ; n++ {
		err := d.once(ctx, fn)
		if err == nil || n == maxTries || !Retryable(err) {
			return err
		}
		if waitErr := wait.Wait(ctx, n); waitErr != nil {
			return errors.Join(waitErr, err)
		}
	}
}

func (d *DB) once(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := d.W.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning transaction: %w", err)
	}
	// After a commit this does nothing; its error has no one to tell.
	defer func() { _ = tx.Rollback() }()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// View runs fn in a transaction on R that reads: all that it sees is as of one
// moment, whatever is written meanwhile. fn must not keep tx.
func (d *DB) View(ctx context.Context, fn func(tx *sql.Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true} // what SQLite reads after BEGIN is of the first read's moment
	if d.postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	tx, err := d.R.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("beginning to read: %w", err)
	}
	// Nothing was written that a commit could keep.
	defer func() { _ = tx.Rollback() }()
	return fn(tx)
}

// Retryable says whether err is the database asking to run a transaction
// again: a serialization failure or deadlock of PostgreSQL, a busy or locked
// file of SQLite. Nothing of that transaction was kept.
func Retryable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "40001" || pg.Code == "40P01"
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		const busy, locked = 5, 6
		primary := lite.Code() & 0xff
		return primary == busy || primary == locked
	}
	return false
}

// Refused says whether err is the database's verdict on the data themselves: a
// text it cannot hold, a value that breaks a constraint or a limit. The same
// data will be refused again, others will not. A database that is away, busy,
// broken or out of space does not say so.
func Refused(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		// Data exception, integrity constraint violation, program limit exceeded.
		return strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23") || strings.HasPrefix(pg.Code, "54")
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		const tooBig, constraint, mismatch = 18, 19, 20
		primary := lite.Code() & 0xff
		return primary == tooBig || primary == constraint || primary == mismatch
	}
	return false
}

// Full says whether err is the database's disk having no room. The same will be
// taken when there is some again.
func Full(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "53100" // disk_full
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		const full = 13
		return lite.Code()&0xff == full
	}
	return false
}

// Unique says whether err is a breach of a unique or primary key.
func Unique(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "23505"
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		const unique, primaryKey = 2067, 1555
		return lite.Code() == unique || lite.Code() == primaryKey
	}
	return false
}
