package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"kurir.dev/services/tracker/internal/mail"
)

// mailColumns are all columns of mails, in the order of mailRow and scanMail.
const mailColumns = `tenant, mail_id, lane, state, at_attempt, at_rank, at_time, accepted_at, accepted,
	delivered_at, settled_at, opens, clicks, machine_hits, traceparent, kind, template, version, locale,
	invoice_id, reminder_step, campaign, recipient, domain, sender_domain, currency, units, nanos, due_on, facts`

const (
	mailWidth  = 30
	insertMail = `INSERT INTO mails (` + mailColumns + `) VALUES `
)

func mailRow(m *mail.Mail) []any {
	f := &m.Facts
	return []any{
		m.Tenant, m.ID, m.Lane, int64(m.State), int64(m.Progress.Attempt), int64(m.Progress.Rank), m.Progress.At,
		nanos(m.AcceptedAt), flag(m.Accepted), nanos(m.DeliveredAt), nanos(m.SettledAt), m.Opens, m.Clicks, m.MachineHits,
		m.Traceparent, int64(f.Kind), f.Template, f.Version, f.Locale, f.InvoiceID, f.ReminderStep, f.Campaign,
		f.Recipient, f.Domain, f.SenderDomain, f.Amount.Currency, f.Amount.Units, int64(f.Amount.Nanos), f.DueOn, blob(f.Body),
	}
}

func scanMail(rows *sql.Rows) (mail.Mail, error) {
	var m mail.Mail
	var accepted, delivered, settled int64
	f := &m.Facts
	err := rows.Scan(
		&m.Tenant, &m.ID, &m.Lane, &m.State, &m.Progress.Attempt, &m.Progress.Rank, &m.Progress.At,
		&accepted, &m.Accepted, &delivered, &settled, &m.Opens, &m.Clicks, &m.MachineHits,
		&m.Traceparent, &f.Kind, &f.Template, &f.Version, &f.Locale, &f.InvoiceID, &f.ReminderStep, &f.Campaign,
		&f.Recipient, &f.Domain, &f.SenderDomain, &f.Amount.Currency, &f.Amount.Units, &f.Amount.Nanos, &f.DueOn, &f.Body,
	)
	m.AcceptedAt, m.DeliveredAt, m.SettledAt = moment(accepted), moment(delivered), moment(settled)
	return m, err
}

// What an event changes of a mail that is known, and what it may change when
// it also says something new about the mail itself. The short list leaves all
// indexes but that of the state alone.
const (
	movedMail = ` ON CONFLICT (tenant, mail_id) DO UPDATE SET state = excluded.state, at_attempt = excluded.at_attempt,
	at_rank = excluded.at_rank, at_time = excluded.at_time, delivered_at = excluded.delivered_at,
	settled_at = excluded.settled_at, opens = excluded.opens, clicks = excluded.clicks, machine_hits = excluded.machine_hits`
	knownMail = movedMail + `, lane = excluded.lane, accepted_at = excluded.accepted_at, accepted = excluded.accepted,
	traceparent = excluded.traceparent, kind = excluded.kind, template = excluded.template, version = excluded.version,
	locale = excluded.locale, invoice_id = excluded.invoice_id, reminder_step = excluded.reminder_step,
	campaign = excluded.campaign, recipient = excluded.recipient, domain = excluded.domain,
	sender_domain = excluded.sender_domain, currency = excluded.currency, units = excluded.units,
	nanos = excluded.nanos, due_on = excluded.due_on, facts = excluded.facts`
)

// moveMail is movedMail for a mail that is there, of which nothing else need be
// sent; its parameters are those of moveRow.
const moveMail = `UPDATE mails SET state = ?, at_attempt = ?, at_rank = ?, at_time = ?, delivered_at = ?, settled_at = ?,
	opens = ?, clicks = ?, machine_hits = ? WHERE tenant = ? AND mail_id = ?`

func moveRow(m *mail.Mail) []any {
	return []any{
		int64(m.State), int64(m.Progress.Attempt), int64(m.Progress.Rank), m.Progress.At, nanos(m.DeliveredAt), nanos(m.SettledAt),
		m.Opens, m.Clicks, m.MachineHits, m.Tenant, m.ID,
	}
}

// Mail returns a tenant's mail, or ErrUnknown.
func (s *Store) Mail(ctx context.Context, tenant, id string) (mail.Mail, error) {
	found, err := s.MailsByID(ctx, tenant, []string{id})
	if err != nil {
		return mail.Mail{}, err
	}
	if len(found) == 0 {
		return mail.Mail{}, ErrUnknown
	}
	return found[0], nil
}

// MailsByID returns those of a tenant's mails that are known, in no order.
func (s *Store) MailsByID(ctx context.Context, tenant string, ids []string) ([]mail.Mail, error) {
	keys := make([]key, len(ids))
	for i, id := range ids {
		keys[i] = key{tenant, id}
	}
	var out []mail.Mail
	err := s.mails(ctx, s.db.R, keys, func(m mail.Mail) { out = append(out, m) })
	return out, err
}

// findMails reads mails within a transaction that writes.
func (s *Store) findMails(ctx context.Context, tx *sql.Tx, turn Turn, keys []key, take func(mail.Mail)) error {
	if s.hot == nil {
		return s.mails(ctx, tx, keys, take)
	}
	find := tx.StmtContext(ctx, s.hot.find)
	defer func() { _ = find.Close() }()
	args := make([]any, 2*found)
	for some := range slices.Chunk(keys, found) {
		turn.Pause()
		for i := range found {
			k := some[min(i, len(some)-1)] // the last again fills up
			args[2*i], args[2*i+1] = k.tenant, k.id
		}
		rows, err := find.QueryContext(ctx, args...)
		if err == nil {
			err = every(rows, func(r *sql.Rows) error {
				m, err := scanMail(r)
				if err == nil {
					take(m)
				}
				return err
			})
		}
		if err != nil {
			return fmt.Errorf("reading mails: %w", err)
		}
	}
	return nil
}

// selectMails is to be followed by pairs of tenant and mail.
const selectMails = `SELECT ` + mailColumns + ` FROM mails WHERE (tenant, mail_id) IN `

func (s *Store) mails(ctx context.Context, q querier, keys []key, take func(mail.Mail)) error {
	err := s.pairs(ctx, q, selectMails, keys, func(r *sql.Rows) error {
		m, err := scanMail(r)
		if err == nil {
			take(m)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading mails: %w", err)
	}
	return nil
}

// Filter selects mails; what is set must all match.
type Filter struct {
	Recipient string // in its comparable form
	InvoiceID string
	Campaign  string
	Lane      string
	State     mail.State // Unknown is any
	From, To  time.Time  // accepted at or after, and before
	AfterTime time.Time  // the mail the last page ended with
	AfterID   string     // empty starts at the newest
	Limit     int
}

// Mails finds a tenant's mails, the newest first.
func (s *Store) Mails(ctx context.Context, tenant string, f Filter) ([]mail.Mail, error) {
	where, args := []string{"tenant = ?"}, []any{tenant}
	add := func(on bool, cond string, values ...any) {
		if on {
			where, args = append(where, cond), append(args, values...)
		}
	}
	add(f.Recipient != "", "recipient = ?", f.Recipient)
	add(f.InvoiceID != "", "invoice_id = ? AND invoice_id <> ''", f.InvoiceID)
	add(f.Campaign != "", "campaign = ? AND campaign <> ''", f.Campaign)
	add(f.Lane != "", "lane = ?", f.Lane)
	add(f.State != mail.Unknown, "state = ?", int64(f.State))
	// The index by state does not know the delivered: see leaner.
	add(f.State != mail.Unknown && f.State != mail.Delivered, "state <> 5")
	add(!f.From.IsZero(), "accepted_at >= ?", nanos(f.From))
	add(!f.To.IsZero(), "accepted_at < ?", nanos(f.To))
	add(f.AfterID != "", "(accepted_at, mail_id) < (?, ?)", nanos(f.AfterTime), f.AfterID)
	query := `SELECT ` + mailColumns + ` FROM mails WHERE ` + strings.Join(where, " AND ") +
		` ORDER BY accepted_at DESC, mail_id DESC LIMIT ?`
	var out []mail.Mail
	err := scan(ctx, s.db.R, s.db.Rebind(query), append(args, f.Limit), func(r *sql.Rows) error {
		m, err := scanMail(r)
		out = append(out, m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing mails: %w", err)
	}
	return out, nil
}
