package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"kurir.dev/kit/topic"
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
func (s *Store) Claim(
	ctx context.Context, lane string, now, lease time.Time, limit int, place func(waiting.Mail) topic.Band,
) ([]waiting.Mail, error) {
	// Most looks find nothing: they shall not take the writer.
	next, err := s.NextWake(ctx, lane)
	if err != nil || next.IsZero() || next.After(now) {
		return nil, err
	}
	var claimed []waiting.Mail
	size := 0
	for looked := 0; looked < limit; {
		var c *claim
		err := s.write(ctx, s.rankOf(lane), func(ctx context.Context, t *txn) error {
			c = &claim{size: size, place: place}
			begun := time.Now()
			for {
				n := s.most(limit - looked - c.looked)
				if err := s.claim(ctx, t, c, lane, now, lease, n); err != nil {
					return err
				}
				if c.done = c.done || looked+c.looked >= limit; c.done || s.turns.over(s.rankOf(lane), begun) {
					return nil
				}
			}
		})
		if err != nil {
			if len(claimed) == 0 {
				return nil, s.fault("claiming due mail", err)
			}
			break // what was claimed is claimed
		}
		claimed = append(claimed, c.mails...)
		if size = c.size; c.done {
			break
		}
		looked += c.looked
	}
	claimed, err = s.envelopes(ctx, claimed)
	return claimed, s.fault("reading the envelopes of claimed mail", err)
}

// claim is what one transaction claims.
type claim struct {
	place  func(waiting.Mail) topic.Band
	mails  []waiting.Mail
	looked int // rows
	size   int // bytes of envelopes, those of earlier transactions included
	done   bool
}

// claim claims some more mail, at most n rows of it.
func (s *Store) claim(ctx context.Context, t *txn, c *claim, lane string, now, lease time.Time, n int) error {
	rows, err := s.due(ctx, t, lane, now, n)
	if err != nil {
		return err
	}
	c.looked += len(rows)
	c.done = len(rows) < n
	moved := make(map[decision][]any)
	for _, d := range rows {
		why := ""
		if d.cause.Stops(d.mail.Kind) {
			why = d.cause.String()
		}
		m := d.mail.Decide(now, why)
		wake := lease
		if m.State.Waits() && m.Tell == 0 {
			wake = m.WakeAt() // nothing to do before that
		} else {
			if c.size > 0 && c.size+d.bytes > claimBytes {
				c.done = true
				break
			}
			c.size += d.bytes
			if d.mail.State.Waits() && m.State == waiting.Leaving {
				m.Band = c.place(m)
			}
			c.mails = append(c.mails, m)
		}
		if !m.State.Waits() {
			m.Held, m.HoldUntil = false, time.Time{}
		}
		k := decision{
			state: m.State, ending: m.Ending, reason: m.Reason, wake: micros(wake),
			held: bit(m.Held), until: micros(m.HoldUntil), tell: m.Tell, band: m.Band,
		}
		moved[k] = append(moved[k], m.ID)
	}
	for k, ids := range moved {
		args := append([]any{k.state.String(), k.ending.String(), k.reason, k.wake, k.held, k.until, int64(k.tell), int64(k.band)}, ids...)
		if err := t.exec(ctx, `UPDATE waiting SET state = ?, ending = ?, reason = ?, wake_at = ?, held = ?, hold_until = ?, tell = ?, band = ?
			WHERE mail_id IN (`+marks(len(ids))+`)`, args...); err != nil {
			return err
		}
	}
	return nil
}

// decision is what rows of one update have in common.
type decision struct {
	state       waiting.State
	ending      waiting.Ending
	reason      string
	wake        int64
	held, until int64
	tell        waiting.Tell
	band        topic.Band
}

// due reads and locks rows whose time has come, without their envelopes.
func (s *Store) due(ctx context.Context, t *txn, lane string, now time.Time, limit int) ([]due, error) {
	lanes, err := s.members(ctx, lane)
	if err != nil {
		return nil, err
	}
	var rows []due
	for _, lane := range lanes {
		found, err := t.dueOf(ctx, lane, now, limit-len(rows))
		if err != nil {
			return nil, err
		}
		if rows = append(rows, found...); len(rows) >= limit {
			break
		}
	}
	return rows, nil
}

// members are the lanes a claim for lane is about: itself, or for "" those with
// mail that are not configured any more.
func (s *Store) members(ctx context.Context, lane string) ([]string, error) {
	if lane != "" {
		return []string{lane}, nil
	}
	var lanes []string
	err := s.read(ctx, func(row *sql.Rows) error {
		var lane string
		err := row.Scan(&lane)
		if !slices.Contains(s.lanes, lane) {
			lanes = append(lanes, lane)
		}
		return err
	}, `SELECT lane FROM waiting_counts WHERE n > 0 ORDER BY lane`)
	return lanes, err
}

// dueOf is due for one lane.
func (t *txn) dueOf(ctx context.Context, lane string, now time.Time, limit int) ([]due, error) {
	q := `SELECT ` + prefixed("w") + `, length(w.envelope), COALESCE(s.cause, 0)
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

// listed are the columns of a mail without its envelope.
var listed = []string{
	"mail_id", "attempt", "tenant", "lane", "kind", "domain", "site", "invoice", "template", "recipient",
	"state", "held", "hold_until", "reason", "ending", "due_at", "expires_at", "hint", "held_at", "in_doubt", "tell", "band",
}

// prefixed are the listed columns of a table alias.
func prefixed(alias string) string { return alias + "." + strings.Join(listed, ", "+alias+".") }

// scanMail reads the listed columns into m, and what follows them into more.
func scanMail(row *sql.Rows, m *waiting.Mail, more ...any) error {
	var recipient []byte
	var state, ending string
	var held, holdUntil, due, expires, heldAt, doubt int64
	dest := append([]any{
		&m.ID, &m.Attempt, &m.Tenant, &m.Lane, &m.Kind, &m.Domain, &m.Site, &m.Invoice, &m.Template, &recipient,
		&state, &held, &holdUntil, &m.Reason, &ending, &due, &expires,
		&m.Hint, &heldAt, &doubt, &m.Tell, &m.Band,
	}, more...)
	if err := row.Scan(dest...); err != nil {
		return err
	}
	if len(recipient) == len(m.Recipient) {
		m.Recipient = mail.Key(recipient)
	}
	m.State, m.Ending = waiting.ParseState(state), waiting.ParseEnding(ending)
	m.Held, m.HoldUntil, m.DueAt, m.ExpiresAt = held != 0, at(holdUntil), at(due), at(expires)
	m.HeldAt, m.InDoubt = at(heldAt), doubt != 0
	return nil
}

// envelopes fills in the envelopes of claimed mail, after the transaction: it
// is leased. Mail that gave way to a newer attempt meanwhile is left out.
func (s *Store) envelopes(ctx context.Context, mails []waiting.Mail) ([]waiting.Mail, error) {
	if len(mails) == 0 {
		return nil, nil
	}
	index := make(map[string]int, len(mails))
	ids := make([]any, len(mails))
	for i, m := range mails {
		index[m.ID], ids[i] = i, m.ID
	}
	there := make(map[string]bool, len(mails))
	err := s.read(ctx, func(row *sql.Rows) error {
		var id string
		var attempt uint32
		var envelope []byte
		if err := row.Scan(&id, &attempt, &envelope); err != nil {
			return err
		}
		if m := &mails[index[id]]; m.Attempt == attempt {
			m.Envelope, there[id] = envelope, true
		}
		return nil
	}, `SELECT mail_id, attempt, envelope FROM waiting WHERE mail_id IN (`+marks(len(ids))+`)`, ids...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(mails, func(m waiting.Mail) bool { return !there[m.ID] }), nil
}

// decided are the states of claimed mail, as SQL.
var decided = quoted(waiting.Leaving.String(), waiting.Settling.String())

// Finish implements waiting.Queue.
func (s *Store) Finish(ctx context.Context, refs []waiting.Ref, now time.Time) error {
	if len(refs) == 0 {
		return nil
	}
	err := s.portions(ctx, rankDue, len(refs), func(ctx context.Context, t *txn, from int) (int, error) {
		to := from + s.most(len(refs)-from)
		return to, t.finish(ctx, refs[from:to], now)
	})
	return s.fault("finishing mail that left", err)
}

func (t *txn) finish(ctx context.Context, refs []waiting.Ref, now time.Time) error {
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
	}, `DELETE FROM waiting WHERE `+named(refs)+` AND state IN (`+decided+`) RETURNING mail_id, tenant, attempt, lane`, names(refs)...); err != nil {
		return err
	}
	if len(left) == 0 {
		return nil
	}
	return t.exec(ctx, `INSERT INTO departures (mail_id, tenant, attempt, left_at) VALUES `+tuples(len(left)/4, 4)+`
		ON CONFLICT (mail_id) DO UPDATE SET attempt = excluded.attempt, left_at = excluded.left_at
		WHERE excluded.attempt > departures.attempt`, left...)
}

// Told implements waiting.Queue. What was decided since it was claimed has its
// event told with that decision, or again.
func (s *Store) Told(ctx context.Context, told waiting.Tell, refs []waiting.Ref) error {
	if len(refs) == 0 {
		return nil
	}
	left := `(tell & ~CAST(? AS BIGINT))`
	what := int64(told)
	return s.fault("noting what was told", s.amend(ctx, refs, `UPDATE waiting SET tell = `+left+`, wake_at = CASE
			WHEN `+left+` <> 0 THEN wake_at
			WHEN held = 1 AND hold_until = 0 THEN expires_at
			WHEN held = 1 AND hold_until < expires_at THEN hold_until
			WHEN held = 0 AND due_at < expires_at THEN due_at
			ELSE expires_at END
		WHERE state IN (`+undecided+`) AND `, what, what))
}

// Postpone implements waiting.Queue.
func (s *Store) Postpone(ctx context.Context, refs []waiting.Ref, wake time.Time) error {
	if len(refs) == 0 {
		return nil
	}
	return s.fault("postponing claimed mail", s.amend(ctx, refs, `UPDATE waiting SET wake_at = ? WHERE `, micros(wake)))
}

// amend runs an update that ends in the condition of being one of refs.
func (s *Store) amend(ctx context.Context, refs []waiting.Ref, q string, args ...any) error {
	return s.portions(ctx, rankDue, len(refs), func(ctx context.Context, t *txn, from int) (int, error) {
		to := from + s.most(len(refs)-from)
		return to, t.exec(ctx, q+named(refs[from:to]), append(slices.Clip(args), names(refs[from:to])...)...)
	})
}

// named is the condition that a row is one of refs.
func named(refs []waiting.Ref) string {
	list := strings.TrimSuffix(strings.Repeat("(?, CAST(? AS BIGINT)), ", len(refs)), ", ")
	return `(mail_id, attempt) IN (VALUES ` + list + `)`
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
func (s *Store) NextWake(ctx context.Context, lane string) (time.Time, error) {
	lanes, err := s.members(ctx, lane)
	var first time.Time
	for _, lane := range lanes {
		var wake sql.NullInt64
		if err == nil {
			err = s.db.R.QueryRowContext(ctx, s.db.Rebind(`SELECT MIN(wake_at) FROM waiting WHERE lane = ?`), lane).Scan(&wake)
		}
		if t := at(wake.Int64); wake.Valid && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first, s.fault("asking for the next due mail", err)
}
