// Package store keeps what the tracker knows, on SQLite or PostgreSQL.
//
// Its one writing path for events is Ingest: the offsets of the records, the
// rows they make and what follows from them are committed together, so that
// every record counts exactly once whatever process dies when. Rows of the
// tables head and offsets guard it: a transaction that writes events holds the
// row of head until it commits, which lines all writers up (SQLite does so by
// itself), makes positions visible in their order, and lets the offsets decide
// which records another replica has stored already.
//
// What must leave the store leaves by the outbox (records for Kafka) and the
// errands (calls to the router), written in the same transaction as their
// cause and worked off later, at least once.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"kurir.dev/kit/db"
)

// ErrUnknown is returned for a mail or invoice that is not in the store.
var ErrUnknown = errors.New("not in the store")

// ErrRefused is returned by Ingest when the database will not hold the data of
// one of the records, now or later.
var ErrRefused = errors.New("the database refuses the data")

// Store is an open store; safe for concurrent use.
type Store struct {
	db  *db.DB
	hot *hot // nil on PostgreSQL
}

// Open opens the store at url and brings its schema up to date. Close it in
// the end. In a SQLite file that nobody else has open, what is leased and
// claimed is let go.
func Open(ctx context.Context, url string) (*Store, error) {
	d, err := db.Open(ctx, url, migrations(), inherit)
	if err != nil {
		return nil, err
	}
	s := &Store{db: d}
	if !d.Postgres() {
		if s.hot, err = prepare(ctx, d.W); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return s, nil
}

// Close closes the store.
func (s *Store) Close() error {
	if s.hot != nil {
		return errors.Join(s.hot.close(), s.db.Close())
	}
	return s.db.Close()
}

// Shared tells whether other processes may write to the store as well.
func (s *Store) Shared() bool { return s.db.Postgres() }

// lock lines this transaction up with all others that write events or
// invoices, and sets n positions aside; it returns the first of them.
func (s *Store) lock(ctx context.Context, tx *sql.Tx, n int) (int64, error) {
	var top int64
	err := tx.QueryRowContext(ctx, s.db.Rebind(`UPDATE head SET position = position + ? WHERE id = 1 RETURNING position`), n).Scan(&top)
	if err != nil {
		return 0, fmt.Errorf("locking the head of the store: %w", err)
	}
	return top - int64(n) + 1, nil
}

// chunk is how many parameters one statement takes. PostgreSQL is spared round
// trips; SQLite's driver looks through all of a statement's parameters to bind
// each of them, so few and small statements are the faster way there. What every
// mail needs is not written so, but by statements that are ready: see hot.
func (s *Store) chunk() int {
	if s.db.Postgres() {
		return 12_000
	}
	return 240
}

// bulk runs a statement of the form "head (?, ?), (?, ?) ... tail" over rows of
// the same width, as often as it takes, and hands each returned row to each.
func (s *Store) bulk(ctx context.Context, tx *sql.Tx, head, tail string, rows [][]any, each func(*sql.Rows) error) error {
	if len(rows) == 0 {
		return nil
	}
	width := len(rows[0])
	one := row(width)
	size := max(1, s.chunk()/width)
	for len(rows) > 0 {
		n := min(size, len(rows))
		text := head + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + tail
		args := make([]any, 0, n*width)
		for _, r := range rows[:n] {
			args = append(args, r...)
		}
		rows = rows[n:]
		if each == nil {
			if _, err := tx.ExecContext(ctx, s.db.Rebind(text), args...); err != nil {
				return err
			}
			continue
		}
		if err := scan(ctx, tx, s.db.Rebind(text), args, each); err != nil {
			return err
		}
	}
	return nil
}

// row is the parameters of one row.
func row(width int) string { return "(" + marks(width) + ")" }

// querier is a transaction or the pool of readers.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// scan runs a query and hands each row to each.
func scan(ctx context.Context, q querier, query string, args []any, each func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	return every(rows, each)
}

// every hands each row to each, and closes them.
func every(rows *sql.Rows, each func(*sql.Rows) error) error {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// pairs runs "head ((?, ?), ...) tail" over pairs of keys, in chunks.
func (s *Store) pairs(ctx context.Context, q querier, head string, keys []key, each func(*sql.Rows) error) error {
	size := max(1, s.chunk()/4)
	for len(keys) > 0 {
		n := min(size, len(keys))
		args := make([]any, 0, 2*n)
		for _, k := range keys[:n] {
			args = append(args, k.tenant, k.id)
		}
		keys = keys[n:]
		if err := scan(ctx, q, s.db.Rebind(head+pairsOf(n)), args, each); err != nil {
			return err
		}
	}
	return nil
}

// pairsOf is a set of n pairs of parameters.
func pairsOf(n int) string {
	return "(VALUES " + strings.TrimSuffix(strings.Repeat("(?,?),", n), ",") + ")"
}

// key names a mail or an invoice.
type key struct{ tenant, id string }

// nanos is a time as a column holds it, 0 for none.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// moment is the time a column holds.
func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// blob is b, never NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
