package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
	"kurir.dev/services/router/internal/waiting"
)

var _ waiting.Queue = (*Store)(nil)

// due is a row whose time has come.
type due struct {
	mail  waiting.Mail
	cause suppression.Cause
	bytes int
}

// Claim implements waiting.Queue. On PostgreSQL rows that another replica is
// claiming are passed over; SQLite has one writer.
func (s *Store) Claim(ctx context.Context, now, lease time.Time, limit int) ([]waiting.Mail, error) {
	var claimed []waiting.Mail
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		t := s.tx(tx)
		claimed = nil
		rows, err := s.due(ctx, t, now, limit)
		if err != nil {
			return err
		}
		moved := make(map[decision][]any)
		size := 0
		for _, d := range rows {
			why := ""
			if d.cause.Stops(d.mail.Kind) {
				why = d.cause.String()
			}
			was, wake := d.mail, lease
			m := was.Decide(now, why)
			if m.State.Waits() {
				if m.Held == was.Held {
					continue
				}
				wake = m.WakeAt()
			} else {
				if size += d.bytes; size > claimBytes && len(claimed) > 0 {
					break
				}
				claimed = append(claimed, m)
			}
			k := decision{state: m.State, ending: m.Ending, reason: m.Reason, wake: micros(wake)}
			moved[k] = append(moved[k], m.ID)
		}
		for k, ids := range moved {
			args := append([]any{k.state.String(), k.ending.String(), k.reason, k.wake}, ids...)
			if err := t.exec(ctx, `UPDATE waiting SET state = ?, ending = ?, reason = ?, wake_at = ?, held = 0, hold_until = 0
				WHERE mail_id IN (`+marks(len(ids))+`)`, args...); err != nil {
				return err
			}
		}
		return t.envelopes(ctx, claimed)
	})
	return claimed, s.fault("claiming due mail", err)
}

// decision is what rows of one update have in common.
type decision struct {
	state  waiting.State
	ending waiting.Ending
	reason string
	wake   int64
}

// due reads and locks rows whose time has come, without their envelopes: lane
// by lane in the order of rank, so that a lane's mail does not wait for what
// the lanes beneath it have due. Each of those is left a share all the same.
func (s *Store) due(ctx context.Context, t *txn, now time.Time, limit int) ([]due, error) {
	var lanes []string
	if err := t.query(ctx, func(row *sql.Rows) error {
		var lane string
		err := row.Scan(&lane)
		lanes = append(lanes, lane)
		return err
	}, `SELECT lane FROM waiting_counts WHERE n > 0 ORDER BY lane`); err != nil {
		return nil, err
	}
	slices.SortStableFunc(lanes, func(a, b string) int { return cmp.Compare(s.rank[a], s.rank[b]) })
	share := limit / (2 * max(1, len(lanes)))
	var rows []due
	for i, lane := range lanes {
		most := max(1, limit-len(rows)-share*(len(lanes)-1-i))
		found, err := t.dueOf(ctx, lane, now, most)
		if err != nil {
			return nil, err
		}
		if rows = append(rows, found...); len(rows) >= limit {
			break
		}
	}
	return rows, nil
}

// dueOf is due for one lane.
func (t *txn) dueOf(ctx context.Context, lane string, now time.Time, limit int) ([]due, error) {
	q := `SELECT w.mail_id, w.attempt, w.tenant, w.lane, w.kind, w.domain, w.site, w.invoice, w.template, w.recipient,
			w.state, w.held, w.hold_until, w.reason, w.ending, w.due_at, w.expires_at, length(w.envelope), COALESCE(s.cause, 0)
		FROM waiting w LEFT JOIN suppressions s ON s.recipient = w.recipient
		WHERE w.lane = ? AND w.wake_at <= ? ORDER BY w.wake_at LIMIT ?`
	if t.db.Postgres() {
		q += ` FOR UPDATE OF w SKIP LOCKED`
	}
	var rows []due
	err := t.query(ctx, func(row *sql.Rows) error {
		var d due
		if err := scanMail(row, &d.mail, &d.bytes, &d.cause); err != nil {
			return err
		}
		rows = append(rows, d)
		return nil
	}, q, lane, micros(now), limit)
	return rows, err
}

// scanMail reads the columns up to expires_at into m, and what follows them
// into more.
func scanMail(row *sql.Rows, m *waiting.Mail, more ...any) error {
	var recipient []byte
	var state, ending string
	var held, holdUntil, due, expires int64
	dest := append([]any{
		&m.ID, &m.Attempt, &m.Tenant, &m.Lane, &m.Kind, &m.Domain, &m.Site, &m.Invoice, &m.Template, &recipient,
		&state, &held, &holdUntil, &m.Reason, &ending, &due, &expires,
	}, more...)
	if err := row.Scan(dest...); err != nil {
		return err
	}
	if len(recipient) == len(m.Recipient) {
		m.Recipient = mail.Key(recipient)
	}
	m.State, m.Ending = waiting.ParseState(state), waiting.ParseEnding(ending)
	m.Held, m.HoldUntil, m.DueAt, m.ExpiresAt = held != 0, at(holdUntil), at(due), at(expires)
	return nil
}

// envelopes fills in the envelopes of claimed mail.
func (t *txn) envelopes(ctx context.Context, mails []waiting.Mail) error {
	if len(mails) == 0 {
		return nil
	}
	index := make(map[string]int, len(mails))
	ids := make([]any, len(mails))
	for i, m := range mails {
		index[m.ID], ids[i] = i, m.ID
	}
	return t.query(ctx, func(row *sql.Rows) error {
		var id string
		var envelope []byte
		if err := row.Scan(&id, &envelope); err != nil {
			return err
		}
		mails[index[id]].Envelope = envelope
		return nil
	}, `SELECT mail_id, envelope FROM waiting WHERE mail_id IN (`+marks(len(ids))+`)`, ids...)
}

// decided are the states of claimed mail, as SQL.
var decided = quoted(waiting.Leaving.String(), waiting.Settling.String())

// Finish implements waiting.Queue.
func (s *Store) Finish(ctx context.Context, refs []waiting.Ref, now time.Time) error {
	if len(refs) == 0 {
		return nil
	}
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		t := s.tx(tx)
		var left []any
		if err := t.query(ctx, func(row *sql.Rows) error {
			var id, tenant, lane string
			var attempt int64
			if err := row.Scan(&id, &tenant, &attempt, &lane); err != nil {
				return err
			}
			t.delta[lane]--
			left = append(left, id, tenant, attempt, micros(now))
			return nil
		}, `DELETE FROM waiting WHERE `+named(refs)+` RETURNING mail_id, tenant, attempt, lane`, names(refs)...); err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if err := t.exec(ctx, `INSERT INTO departures (mail_id, tenant, attempt, left_at) VALUES `+tuples(len(left)/4, 4)+`
			ON CONFLICT (mail_id) DO UPDATE SET attempt = excluded.attempt, left_at = excluded.left_at
			WHERE excluded.attempt > departures.attempt`, left...); err != nil {
			return err
		}
		return t.bump(ctx)
	})
	return s.fault("finishing mail that left", err)
}

// Postpone implements waiting.Queue.
func (s *Store) Postpone(ctx context.Context, refs []waiting.Ref, wake time.Time) error {
	if len(refs) == 0 {
		return nil
	}
	args := append([]any{micros(wake)}, names(refs)...)
	_, err := s.db.W.ExecContext(ctx, s.db.Rebind(`UPDATE waiting SET wake_at = ? WHERE `+named(refs)), args...)
	return s.fault("postponing claimed mail", err)
}

// named is the condition that a row is one of refs, still decided as it was.
func named(refs []waiting.Ref) string {
	list := strings.TrimSuffix(strings.Repeat("(?, CAST(? AS BIGINT)), ", len(refs)), ", ")
	return `(mail_id, attempt) IN (VALUES ` + list + `) AND state IN (` + decided + `)`
}

// names are the parameters of named.
func names(refs []waiting.Ref) []any {
	args := make([]any, 0, 2*len(refs))
	for _, r := range refs {
		args = append(args, r.ID, int64(r.Attempt))
	}
	return args
}

// NextWake implements waiting.Queue.
func (s *Store) NextWake(ctx context.Context) (time.Time, error) {
	var next sql.NullInt64
	err := s.db.R.QueryRowContext(ctx, `SELECT MIN((SELECT MIN(w.wake_at) FROM waiting w WHERE w.lane = c.lane))
		FROM waiting_counts c WHERE c.n > 0`).Scan(&next)
	return at(next.Int64), s.fault("asking for the next due mail", err)
}
