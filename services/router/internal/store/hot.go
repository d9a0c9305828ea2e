package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// hot are the statements that every submission needs, compiled once, for
// SQLite: there a statement costs less to run than to compile, and takes no
// round trip. PostgreSQL's driver keeps statements by itself, and is better off
// with many rows in each. They are of the one connection that writes.
type hot struct {
	enter   *sql.Stmt // an entry, unless its key is taken or its recipient suppressed
	confirm *sql.Stmt // a key
}

func prepare(ctx context.Context, w *sql.DB) (*hot, error) {
	h := new(hot)
	for _, s := range []struct {
		into **sql.Stmt
		text string
	}{
		{&h.enter, insertEntry + `SELECT ` + marks(entryWidth) + `
			WHERE NOT EXISTS (SELECT 1 FROM suppressions WHERE recipient = ?) ON CONFLICT DO NOTHING`},
		{&h.confirm, `UPDATE idempotency SET pending = 0 WHERE tenant = ? AND idem_key = ?`},
	} {
		stmt, err := w.PrepareContext(ctx, s.text) //nolint:sqlclosecheck // close does
		if err != nil {
			return nil, errors.Join(fmt.Errorf("preparing a statement: %w", err), h.close())
		}
		*s.into = stmt
	}
	return h, nil
}

// close closes the statements of h; nil has none.
func (h *hot) close() error {
	if h == nil {
		return nil
	}
	var faults []error
	for _, s := range []*sql.Stmt{h.enter, h.confirm} {
		if s != nil {
			faults = append(faults, s.Close())
		}
	}
	return errors.Join(faults...)
}
