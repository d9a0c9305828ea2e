package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"kurir.dev/kit/broker"
)

// ErrandKind says what the router is to be asked for.
type ErrandKind string

// The kinds.
const (
	// CancelReminders cancels the waiting reminders of the invoice Subject.
	CancelReminders ErrandKind = "cancel_reminders"
	// Suppress puts the recipient of the mail Subject onto the suppression list.
	Suppress ErrandKind = "suppress"
)

// Errand is a call the router still has to be made.
type Errand struct {
	ID       int64
	Kind     ErrandKind
	Tenant   string
	Subject  string
	EntryID  string // the ledger entry it follows from; may be empty
	Attempts int    // made so far
	Since    time.Time
}

const insertErrand = `INSERT INTO errands (kind, tenant, subject, entry_id, attempts, due_at, since) VALUES `

func errandRow(kind ErrandKind, tenant, subject, entryID string, due, now time.Time) []any {
	return []any{string(kind), tenant, subject, entryID, 0, nanos(due), nanos(now)}
}

// AddErrand writes an errand, due at due, together with messages for the
// outbox, and returns it with its id.
func (s *Store) AddErrand(ctx context.Context, e Errand, due time.Time, messages ...broker.Message) (Errand, error) {
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		if err := s.post(ctx, tx, messages); err != nil {
			return err
		}
		return s.bulk(ctx, tx, insertErrand, ` RETURNING id`,
			[][]any{errandRow(e.Kind, e.Tenant, e.Subject, e.EntryID, due, e.Since)},
			func(rows *sql.Rows) error { return rows.Scan(&e.ID) })
	})
	if err != nil {
		return e, fmt.Errorf("writing an errand: %w", err)
	}
	return e, nil
}

// ClaimErrands hands out up to limit errands that are due, and keeps them from
// other callers until the claim ends. Each claim counts as an attempt.
func (s *Store) ClaimErrands(ctx context.Context, now, until time.Time, limit int) ([]Errand, error) {
	var out []Errand
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		out = out[:0]
		query := `SELECT id FROM errands WHERE due_at <= ? ORDER BY due_at, id LIMIT ?`
		if s.db.Postgres() {
			query += ` FOR UPDATE SKIP LOCKED`
		}
		ids, err := s.ids(ctx, tx, query, nanos(now), limit)
		if err != nil || len(ids) == 0 {
			return err
		}
		return scan(ctx, tx, s.db.Rebind(`UPDATE errands SET due_at = ?, attempts = attempts + 1 WHERE id IN (`+marks(len(ids))+`)
			RETURNING id, kind, tenant, subject, entry_id, attempts, since`), append([]any{nanos(until)}, ids...),
			func(r *sql.Rows) error {
				var e Errand
				var since int64
				err := r.Scan(&e.ID, &e.Kind, &e.Tenant, &e.Subject, &e.EntryID, &e.Attempts, &since)
				e.Since = moment(since)
				out = append(out, e)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("claiming errands: %w", err)
	}
	return out, nil
}

// PutOff makes an errand due again at due.
func (s *Store) PutOff(ctx context.Context, id int64, due time.Time) error {
	if _, err := s.db.W.ExecContext(ctx, s.db.Rebind(`UPDATE errands SET due_at = ? WHERE id = ?`), nanos(due), id); err != nil {
		return fmt.Errorf("putting an errand off: %w", err)
	}
	return nil
}

// Done ends an errand; cancelled reminders are counted with its ledger entry.
func (s *Store) Done(ctx context.Context, e Errand, cancelled int64) error {
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, s.db.Rebind(`DELETE FROM errands WHERE id = ?`), e.ID); err != nil {
			return err
		}
		if e.EntryID == "" || cancelled == 0 {
			return nil
		}
		_, err := tx.ExecContext(ctx, s.db.Rebind(`UPDATE billing SET cancelled = cancelled + ? WHERE entry_id = ?`), cancelled, e.EntryID)
		return err
	})
	if err != nil {
		return fmt.Errorf("ending an errand: %w", err)
	}
	return nil
}
