package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// hot are the statements that every mail needs, compiled once, for SQLite:
// there a statement costs less to run than to compile, takes no round trip, and
// one row at a time needs no journal of its own to undo half a statement.
// PostgreSQL's driver keeps statements by itself, and is better off with many
// rows in each. They are of the one connection that writes.
type hot struct {
	event *sql.Stmt // insert, unless it is known
	find  *sql.Stmt // mails, found at once
	mail  *sql.Stmt // insert or write whole
	move  *sql.Stmt // write what moves
	next  *sql.Stmt // of a partition
}

// found is how many mails are found at once. For every query the driver copies
// the names of all columns.
const found = 16

func prepare(ctx context.Context, w *sql.DB) (*hot, error) {
	h := new(hot)
	for _, s := range []struct {
		into **sql.Stmt
		text string
	}{
		{&h.event, insertEvent + row(eventWidth) + ignoreKnown},
		{&h.find, selectMails + pairsOf(found)},
		{&h.mail, insertMail + row(mailWidth) + knownMail},
		{&h.move, moveMail},
		{&h.next, insertOffset + row(offsetWidth) + moveOffset},
	} {
		stmt, err := w.PrepareContext(ctx, s.text) //nolint:sqlclosecheck // close does
		if err != nil {
			return nil, errors.Join(fmt.Errorf("preparing a statement: %w", err), h.close())
		}
		*s.into = stmt
	}
	return h, nil
}

func (h *hot) close() error {
	var faults []error
	for _, s := range []*sql.Stmt{h.event, h.find, h.mail, h.move, h.next} {
		if s != nil {
			faults = append(faults, s.Close())
		}
	}
	return errors.Join(faults...)
}

// each runs a statement for every row.
func each(ctx context.Context, tx *sql.Tx, turn Turn, s *sql.Stmt, rows [][]any) error {
	here := tx.StmtContext(ctx, s)
	defer func() { _ = here.Close() }()
	for i, args := range rows {
		if i%portion == portion-1 {
			turn.Pause()
		}
		if _, err := here.ExecContext(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}
