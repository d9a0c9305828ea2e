package store

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"time"

	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/waiting"
)

var _ waiting.Desk = (*Store)(nil)

// undecided are the states of mail that people can still act upon, as SQL.
var undecided = quoted(waiting.Scheduled.String(), waiting.Deferred.String())

// Cancel implements waiting.Desk.
func (s *Store) Cancel(ctx context.Context, sc waiting.Scope, reason string, now time.Time) (int64, error) {
	if reason == "" {
		reason = "cancelled"
	}
	return s.change(ctx, sc, `state = '`+waiting.Settling.String()+`', ending = '`+waiting.Cancelled.String()+`',
		held = 0, hold_until = 0, reason = ?, wake_at = ?`, reason, micros(now))
}

// Hold implements waiting.Desk. Mail that is held already keeps the time of
// that hold, and has nothing to tell.
func (s *Store) Hold(ctx context.Context, sc waiting.Scope, reason string, until, now time.Time) (int64, error) {
	if reason == "" {
		reason = "held"
	}
	return s.change(ctx, sc, `held = 1, hold_until = ?, reason = ?, wake_at = ?,
		held_at = CASE WHEN held = 1 THEN held_at ELSE ? END,
		tell = CASE WHEN held = 1 THEN tell ELSE tell | `+bits(waiting.TellHeld)+` END`, micros(until), reason, micros(now), micros(now))
}

// Release implements waiting.Desk.
func (s *Store) Release(ctx context.Context, sc waiting.Scope, now time.Time) (int64, error) {
	return s.change(ctx, sc, `held = 0, hold_until = 0, due_at = ?, wake_at = ?,
		reason = CASE WHEN held = 1 THEN 'released' ELSE reason END,
		tell = CASE WHEN held = 1 THEN tell | `+bits(waiting.TellDecided)+` ELSE tell END`, micros(now), micros(now))
}

// Decide implements waiting.Desk.
func (s *Store) Decide(ctx context.Context, sc waiting.Scope, ending waiting.Ending, reason string, now time.Time) (int64, error) {
	sc.Held = true
	decided := ending.String()
	if ending == 0 {
		decided = "send"
	}
	if reason != "" {
		decided += ": " + reason
	}
	set := `held = 0, hold_until = 0, reason = ?, wake_at = ?, tell = tell | ` + bits(waiting.TellDecided)
	if ending == 0 {
		return s.change(ctx, sc, set+`, due_at = ?`, decided, micros(now), micros(now))
	}
	return s.change(ctx, sc, set+`, state = '`+waiting.Settling.String()+`', ending = '`+ending.String()+`'`, decided, micros(now))
}

// bits is what there is to tell, as SQL.
func bits(t waiting.Tell) string { return strconv.Itoa(int(t)) }

// change sets columns of the undecided mail of a scope, a step at a time in
// the order of ids, and counts it.
func (s *Store) change(ctx context.Context, sc waiting.Scope, set string, setArgs ...any) (int64, error) {
	where, whereArgs := conditions(sc)
	where = append(where, `state IN (`+undecided+`)`, `mail_id > ?`)
	pick := `SELECT mail_id FROM waiting WHERE ` + strings.Join(where, ` AND `) + ` ORDER BY mail_id LIMIT ?`
	var total int64
	for last := ""; ; {
		var ids []any
		err := s.read(ctx, func(row *sql.Rows) error {
			if err := row.Scan(&last); err != nil {
				return err
			}
			ids = append(ids, last)
			return nil
		}, pick, append(append([]any(nil), whereArgs...), last, step)...)
		if err != nil {
			return total, s.fault("finding waiting mail", err)
		}
		for part := range slices.Chunk(ids, s.bite()) {
			// What was decided since it was found is not ours any more.
			still := `state IN (` + undecided + `)`
			if sc.Held {
				still += ` AND held = 1`
			}
			n, err := s.exec(ctx, `UPDATE waiting SET `+set+`
				WHERE mail_id IN (`+marks(len(part))+`) AND `+still, append(append([]any(nil), setArgs...), part...)...)
			if err != nil {
				return total, s.fault("changing waiting mail", err)
			}
			total += n
		}
		if len(ids) < step {
			return total, nil
		}
	}
}

// List implements waiting.Desk. Mail that is on its way out is not listed.
func (s *Store) List(ctx context.Context, sc waiting.Scope, after waiting.Cursor, limit int) ([]waiting.Mail, error) {
	q, args := listing(sc, after, limit)
	var mails []waiting.Mail
	err := s.read(ctx, func(row *sql.Rows) error {
		var m waiting.Mail
		if err := scanMail(row, &m); err != nil {
			return err
		}
		mails = append(mails, m)
		return nil
	}, q, args...)
	return mails, s.fault("listing waiting mail", err)
}

// listing is the query of List. The few mails that are named, or of an invoice,
// are found as such and sorted: they are ordered by an expression, for which
// there is no index, or SQLite would rather go through all that waits of a
// tenant in its order.
func listing(sc waiting.Scope, after waiting.Cursor, limit int) (string, []any) {
	due := `due_at`
	if len(sc.IDs) > 0 || sc.Invoice != "" {
		due = `due_at + 0`
	}
	where, args := conditions(sc)
	where = append(where, `state IN (`+undecided+`)`, `(`+due+`, mail_id) > (?, ?)`)
	return `SELECT ` + strings.Join(listed, ", ") + ` FROM waiting WHERE ` + strings.Join(where, ` AND `) + ` ORDER BY ` + due + `, mail_id LIMIT ?`,
		append(args, micros(after.DueAt), after.ID, limit)
}

// Known implements waiting.Desk.
func (s *Store) Known(ctx context.Context, tenant, id string) (bool, error) {
	for _, table := range []string{"waiting", "departures", "idempotency"} {
		q, args := `SELECT 1 FROM `+table+` WHERE mail_id = ?`, []any{id}
		if tenant != "" {
			q, args = q+` AND tenant = ?`, append(args, tenant)
		}
		known := false
		if err := s.read(ctx, func(*sql.Rows) error { known = true; return nil }, q+` LIMIT 1`, args...); err != nil {
			return false, s.fault("looking a mail up", err)
		}
		if known {
			return true, nil
		}
	}
	return false, nil
}

// conditions are a scope as SQL.
func conditions(sc waiting.Scope) ([]string, []any) {
	var where []string
	var args []any
	for _, c := range []struct{ column, value string }{
		{"tenant", sc.Tenant},
		{"lane", sc.Lane},
		{"invoice", sc.Invoice},
		{"template", sc.Template},
		{"domain", sc.Domain},
		{"site", sc.Site},
	} {
		if c.value != "" {
			where, args = append(where, c.column+` = ?`), append(args, c.value)
		}
	}
	if sc.Invoice != "" {
		where = append(where, `invoice <> ''`) // lets the partial index serve
	}
	if sc.Held {
		where = append(where, `held = 1`)
	}
	if sc.InDoubt {
		where = append(where, `in_doubt = 1`)
	}
	if sc.Kind != mail.KindNone {
		where, args = append(where, `kind = ?`), append(args, int64(sc.Kind))
	}
	if len(sc.IDs) > 0 {
		where, args = append(where, `mail_id IN (`+marks(len(sc.IDs))+`)`), append(args, anys(sc.IDs)...)
	}
	return where, args
}
