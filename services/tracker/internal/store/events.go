package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"kurir.dev/services/tracker/internal/mail"
)

// timelineLimit bounds the events one answer shows of one mail: a mail whose
// links a scanner follows for weeks must not fill an answer.
const timelineLimit = 2000

// Events come with the body of their mail's facts, beside which they lie.
const eventColumns = `e.position, e.event_key, e.tenant, e.mail_id, e.lane, e.type, e.attempt, e.sequence,
	e.occurred_at, e.traceparent, e.body, m.facts`

const eventTables = ` FROM events e LEFT JOIN mails m ON m.tenant = e.tenant AND m.mail_id = e.mail_id `

func scanEvent(rows *sql.Rows) (mail.Event, error) {
	var e mail.Event
	var at int64
	err := rows.Scan(&e.Position, &e.ID, &e.Tenant, &e.MailID, &e.Lane, &e.Type, &e.Attempt, &e.Sequence,
		&at, &e.Traceparent, &e.Body, &e.Facts.Body)
	e.ID = eventID(e.MailID, e.ID)
	e.At = moment(at)
	return e, err
}

// eventKey is an event's id beside its mail's, with which most begin: without
// it, and an id that could be taken for such a rest behind a '='.
func eventKey(mailID, id string) string {
	if rest, ok := strings.CutPrefix(id, mailID); ok && strings.HasPrefix(rest, "/") {
		return rest
	}
	if strings.HasPrefix(id, "/") || strings.HasPrefix(id, "=") {
		return "=" + id
	}
	return id
}

// eventID undoes eventKey.
func eventID(mailID, key string) string {
	if strings.HasPrefix(key, "/") {
		return mailID + key
	}
	return strings.TrimPrefix(key, "=")
}

// What stores an event, unless it is known.
const (
	eventWidth  = 11
	insertEvent = `INSERT INTO events (position, event_key, tenant, mail_id, lane, type, attempt, sequence,
	occurred_at, traceparent, body) VALUES `
	ignoreKnown = ` ON CONFLICT (mail_id, event_key) DO NOTHING`
)

func eventRow(e *mail.Event) []any {
	return []any{
		e.Position, eventKey(e.MailID, e.ID), e.Tenant, e.MailID, e.Lane, int64(e.Type), int64(e.Attempt), int64(e.Sequence),
		nanos(e.At), e.Traceparent, blob(e.Body),
	}
}

// insertEvents inserts events and tells the positions of those that are new.
func (s *Store) insertEvents(ctx context.Context, tx *sql.Tx, turn Turn, rows [][]any, fresh func(position int64)) error {
	if s.hot == nil {
		return s.bulk(ctx, tx, insertEvent, ignoreKnown+` RETURNING position`, rows, func(r *sql.Rows) error {
			var position int64
			err := r.Scan(&position)
			fresh(position)
			return err
		})
	}
	insert := tx.StmtContext(ctx, s.hot.event)
	defer func() { _ = insert.Close() }()
	for i, args := range rows {
		if i%portion == portion-1 {
			turn.Pause()
		}
		res, err := insert.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n > 0 {
			fresh(args[0].(int64))
		}
	}
	return nil
}

// timeline finds a mail's events, in order. The tenant is compared by way of an
// expression, for which there is no index: the planner would rather go through
// all of a tenant's events in their order than sort the few of a mail.
const timeline = `SELECT ` + eventColumns + eventTables + `WHERE e.tenant || '' = ? AND e.mail_id = ? ORDER BY e.position LIMIT ?`

// Timeline returns what happened to a tenant's mail, in order.
func (s *Store) Timeline(ctx context.Context, tenant, mailID string) ([]mail.Event, error) {
	return s.line(ctx, s.db.R, tenant, mailID)
}

// Story returns a tenant's mail, or ErrUnknown, and its timeline, as of the same
// moment: neither knows what the other does not.
func (s *Store) Story(ctx context.Context, tenant, mailID string) (m mail.Mail, line []mail.Event, err error) {
	err = s.db.View(ctx, func(tx *sql.Tx) error {
		known := false
		if err := s.mails(ctx, tx, []key{{tenant, mailID}}, func(found mail.Mail) { m, known = found, true }); err != nil {
			return err
		}
		if !known {
			return ErrUnknown
		}
		var err error
		line, err = s.line(ctx, tx, tenant, mailID)
		return err
	})
	return m, line, err
}

func (s *Store) line(ctx context.Context, q querier, tenant, mailID string) ([]mail.Event, error) {
	out, err := s.events(ctx, q, timeline, tenant, mailID, timelineLimit)
	mail.Order(out)
	return out, err
}

// Head is the position of the newest event.
func (s *Store) Head(ctx context.Context) (int64, error) {
	var head int64
	if err := s.db.R.QueryRowContext(ctx, `SELECT position FROM head WHERE id = 1`).Scan(&head); err != nil {
		return 0, fmt.Errorf("reading the head of the store: %w", err)
	}
	return head, nil
}

// EventFilter selects events; what is set must all match.
type EventFilter struct {
	MailIDs  []string
	Types    []mail.Type
	Campaign string
}

// Page is a stretch of the stream of events.
type Page struct {
	Events []mail.Event
	// Next is the position to read on after; everything up to it was seen.
	Next int64
}

// EventsAfter returns up to limit of a tenant's events stored after a
// position, the oldest first.
func (s *Store) EventsAfter(ctx context.Context, tenant string, f EventFilter, after int64, limit int) (Page, error) {
	// Read first: what is stored from here on lies behind it.
	head, err := s.Head(ctx)
	if err != nil || head <= after {
		return Page{Next: after}, err
	}
	where, args := []string{"e.tenant = ?", "e.position > ?"}, []any{tenant, after}
	if len(f.MailIDs) > 0 {
		where = append(where, "e.mail_id IN ("+marks(len(f.MailIDs))+")")
		for _, id := range f.MailIDs {
			args = append(args, id)
		}
	}
	if len(f.Types) > 0 {
		where = append(where, "e.type IN ("+marks(len(f.Types))+")")
		for _, t := range f.Types {
			args = append(args, int64(t))
		}
	}
	if f.Campaign != "" {
		where, args = append(where, "m.campaign = ?"), append(args, f.Campaign)
	}
	query := `SELECT ` + eventColumns + eventTables + `WHERE ` + strings.Join(where, " AND ") + ` ORDER BY e.position LIMIT ?`
	events, err := s.events(ctx, s.db.R, query, append(args, limit)...)
	if err != nil {
		return Page{}, err
	}
	page := Page{Events: events, Next: head}
	if n := len(events); n > 0 && (n == limit || events[n-1].Position > head) {
		page.Next = events[n-1].Position
	}
	return page, nil
}

func (s *Store) events(ctx context.Context, q querier, query string, args ...any) ([]mail.Event, error) {
	var out []mail.Event
	err := scan(ctx, q, s.db.Rebind(query), args, func(r *sql.Rows) error {
		e, err := scanEvent(r)
		out = append(out, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	return out, nil
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }
