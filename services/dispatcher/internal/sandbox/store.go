package sandbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// store keeps the newest mails in SQLite. Writers share commits.
type store struct {
	sql    *sql.DB
	keep   int
	orders chan order
	ctx    func() context.Context // the life of the process
}

// entry is one mail kept.
type entry struct {
	ID       int64
	At       time.Time
	From, To string // of the envelope
	Author   string // the From header
	Subject  string
	Size     int
	Raw      []byte // only where one is read
}

const schema = `CREATE TABLE IF NOT EXISTS mail (
	id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL,
	author TEXT NOT NULL, subject TEXT NOT NULL, size INTEGER NOT NULL, raw BLOB NOT NULL)`

// openStore opens the file, or a store in memory for "". Nothing here is worth
// an fsync: it is a sandbox.
func openStore(ctx context.Context, path string, keep int) (*store, error) {
	dsn := "file::memory:"
	if path != "" {
		if strings.ContainsAny(path, "?#") {
			return nil, fmt.Errorf("sandbox.path %q holds a ? or #", path)
		}
		dsn = "file:" + path + "?_pragma=journal_mode(wal)&_pragma=synchronous(off)&_pragma=busy_timeout(5000)"
	}
	handle, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening the sandbox: %w", err)
	}
	handle.SetMaxOpenConns(1) // in memory each connection would be a store of its own
	if _, err := handle.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the sandbox: %w", err), handle.Close())
	}
	life := context.WithoutCancel(ctx)
	return &store{sql: handle, keep: keep, orders: make(chan order), ctx: func() context.Context { return life }}, nil
}

func (s *store) close() error { return s.sql.Close() }

func (s *store) add(from, to string, raw []byte, at time.Time) error {
	ctx, cancel := context.WithTimeout(s.ctx(), 30*time.Second)
	defer cancel()
	e := entry{At: at, From: from, To: to, Author: header(raw, "From"), Subject: header(raw, "Subject"), Size: len(raw), Raw: raw}
	done := make(chan error, 1)
	select {
	case s.orders <- order{e, done}:
		return <-done
	case <-ctx.Done():
		return ctx.Err()
	}
}

// order is one mail to keep and who waits for that.
type order struct {
	entry
	done chan<- error
}

const maxBatch = 256

// run commits what is ordered: what comes while a commit runs is the next
// batch.
func (s *store) run(ctx context.Context) error {
	for {
		var batch []order
		select {
		case o := <-s.orders:
			batch = append(batch, o)
		case <-ctx.Done():
			return ctx.Err()
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case o := <-s.orders:
				batch = append(batch, o)
			default:
				more = false
			}
		}
		err := s.commit(s.ctx(), batch)
		for _, o := range batch {
			o.done <- err
		}
	}
}

func (s *store) commit(ctx context.Context, batch []order) error {
	tx, err := s.sql.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	insert, err := tx.PrepareContext(ctx, `INSERT INTO mail (at, sender, recipient, author, subject, size, raw) VALUES (?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer func() { _ = insert.Close() }()
	var last int64
	for _, e := range batch {
		result, err := insert.ExecContext(ctx, e.At.UnixMilli(), e.From, e.To, e.Author, e.Subject, e.Size, e.Raw)
		if err != nil {
			return err
		}
		if last, err = result.LastInsertId(); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM mail WHERE id <= ?`, last-int64(s.keep)); err != nil {
		return err
	}
	return tx.Commit()
}

// list is the newest mails, at most limit, whose sender, recipient or subject
// holds the words.
func (s *store) list(ctx context.Context, words string, limit int) ([]entry, error) {
	like := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(words) + "%"
	rows, err := s.sql.QueryContext(ctx, `SELECT id, at, sender, recipient, author, subject, size FROM mail
		WHERE recipient LIKE ?1 ESCAPE '\' OR subject LIKE ?1 ESCAPE '\' OR author LIKE ?1 ESCAPE '\' OR sender LIKE ?1 ESCAPE '\' ORDER BY id DESC LIMIT ?2`, like, limit)
	if err != nil {
		return nil, fmt.Errorf("listing mail: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []entry
	for rows.Next() {
		var e entry
		var at int64
		if err := rows.Scan(&e.ID, &at, &e.From, &e.To, &e.Author, &e.Subject, &e.Size); err != nil {
			return nil, fmt.Errorf("listing mail: %w", err)
		}
		e.At = time.UnixMilli(at)
		all = append(all, e)
	}
	return all, rows.Err()
}

func (s *store) count(ctx context.Context) (int, error) {
	var n int
	err := s.sql.QueryRowContext(ctx, `SELECT count(*) FROM mail`).Scan(&n)
	return n, err
}

// get is one mail; false when it is not, or no longer, there.
func (s *store) get(ctx context.Context, id int64) (entry, bool, error) {
	e := entry{ID: id}
	var at int64
	err := s.sql.QueryRowContext(ctx, `SELECT at, sender, recipient, subject, size, raw FROM mail WHERE id = ?`, id).
		Scan(&at, &e.From, &e.To, &e.Subject, &e.Size, &e.Raw)
	if errors.Is(err, sql.ErrNoRows) {
		return entry{}, false, nil
	}
	e.At = time.UnixMilli(at)
	return e, err == nil, err
}
