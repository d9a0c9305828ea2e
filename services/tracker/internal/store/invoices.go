package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"kurir.dev/services/tracker/internal/ledger"
	"kurir.dev/services/tracker/internal/mail"
)

const invoiceColumns = `tenant, invoice_id, state, currency, units, nanos, due_on, first_seen_at, paid_at,
	paid_currency, paid_units, paid_nanos, paid_by, attribution, paid_click, opens, clicks, mails`

const (
	insertInvoice = `INSERT INTO invoices (` + invoiceColumns + `) VALUES `
	knownInvoice  = ` ON CONFLICT (tenant, invoice_id) DO UPDATE SET state = excluded.state, currency = excluded.currency,
	units = excluded.units, nanos = excluded.nanos, due_on = excluded.due_on, first_seen_at = excluded.first_seen_at,
	paid_at = excluded.paid_at, paid_currency = excluded.paid_currency, paid_units = excluded.paid_units,
	paid_nanos = excluded.paid_nanos, paid_by = excluded.paid_by, attribution = excluded.attribution,
	paid_click = excluded.paid_click, opens = excluded.opens, clicks = excluded.clicks, mails = excluded.mails`
)

func invoiceRow(inv *ledger.Invoice) []any {
	return []any{
		inv.Tenant, inv.ID, int64(inv.State), inv.Amount.Currency, inv.Amount.Units, int64(inv.Amount.Nanos), inv.DueOn,
		nanos(inv.FirstSeenAt), nanos(inv.PaidAt), inv.PaidAmount.Currency, inv.PaidAmount.Units, int64(inv.PaidAmount.Nanos),
		inv.PaidBy, inv.Attribution, inv.PaidClick, inv.Opens, inv.Clicks, inv.Mails,
	}
}

func scanInvoice(r *sql.Rows) (ledger.Invoice, error) {
	var inv ledger.Invoice
	var seen, paid int64
	err := r.Scan(&inv.Tenant, &inv.ID, &inv.State, &inv.Amount.Currency, &inv.Amount.Units, &inv.Amount.Nanos, &inv.DueOn,
		&seen, &paid, &inv.PaidAmount.Currency, &inv.PaidAmount.Units, &inv.PaidAmount.Nanos,
		&inv.PaidBy, &inv.Attribution, &inv.PaidClick, &inv.Opens, &inv.Clicks, &inv.Mails)
	inv.FirstSeenAt, inv.PaidAt = moment(seen), moment(paid)
	return inv, err
}

func (s *Store) invoices(ctx context.Context, q querier, keys []key, take func(ledger.Invoice)) error {
	err := s.pairs(ctx, q, `SELECT `+invoiceColumns+` FROM invoices WHERE (tenant, invoice_id) IN `, keys, func(r *sql.Rows) error {
		inv, err := scanInvoice(r)
		take(inv)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading invoices: %w", err)
	}
	return nil
}

// Invoice returns a tenant's invoice, or ErrUnknown.
func (s *Store) Invoice(ctx context.Context, tenant, id string) (ledger.Invoice, error) {
	return s.invoice(ctx, s.db.R, tenant, id)
}

func (s *Store) invoice(ctx context.Context, q querier, tenant, id string) (inv ledger.Invoice, err error) {
	found := false
	err = s.invoices(ctx, q, []key{{tenant, id}}, func(i ledger.Invoice) { inv, found = i, true })
	if err == nil && !found {
		err = ErrUnknown
	}
	return inv, err
}

// InvoiceFilter selects invoices; what is set must all match.
type InvoiceFilter struct {
	State     ledger.State // NoState is any
	AfterTime time.Time    // the invoice the last page ended with
	AfterID   string       // empty starts at the newest
	Limit     int
}

// Invoices lists a tenant's invoices, the newest first.
func (s *Store) Invoices(ctx context.Context, tenant string, f InvoiceFilter) ([]ledger.Invoice, error) {
	where, args := []string{"tenant = ?"}, []any{tenant}
	if f.State != ledger.NoState {
		where, args = append(where, "state = ?"), append(args, int64(f.State))
	}
	if f.AfterID != "" {
		where, args = append(where, "(first_seen_at, invoice_id) < (?, ?)"), append(args, nanos(f.AfterTime), f.AfterID)
	}
	query := `SELECT ` + invoiceColumns + ` FROM invoices WHERE ` + strings.Join(where, " AND ") +
		` ORDER BY first_seen_at DESC, invoice_id DESC LIMIT ?`
	var out []ledger.Invoice
	err := scan(ctx, s.db.R, s.db.Rebind(query), append(args, f.Limit), func(r *sql.Rows) error {
		inv, err := scanInvoice(r)
		out = append(out, inv)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing invoices: %w", err)
	}
	return out, nil
}

// lifeLimit bounds the steps one answer shows of one invoice.
const lifeLimit = 2000

const entryColumns = `entry_id, type, tenant, invoice_id, at, currency, units, nanos, mail_id, reference`

func scanEntry(r *sql.Rows, more ...any) (ledger.Entry, error) {
	var e ledger.Entry
	var at int64
	err := r.Scan(append([]any{
		&e.ID, &e.Type, &e.Tenant, &e.InvoiceID, &at, &e.Amount.Currency, &e.Amount.Units, &e.Amount.Nanos, &e.MailID, &e.Reference,
	}, more...)...)
	e.At = moment(at)
	return e, err
}

// Life returns the steps of a tenant's invoice, the oldest first.
func (s *Store) Life(ctx context.Context, tenant, id string) ([]ledger.Entry, error) {
	query := `SELECT ` + entryColumns + ` FROM billing WHERE tenant = ? AND invoice_id = ? ORDER BY at, type, entry_id LIMIT ?`
	var out []ledger.Entry
	err := scan(ctx, s.db.R, s.db.Rebind(query), []any{tenant, id, lifeLimit}, func(r *sql.Rows) error {
		e, err := scanEntry(r)
		out = append(out, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the life of an invoice: %w", err)
	}
	return out, nil
}

// writeEntries keeps steps and puts them into the outbox; steps that are
// known already are left out.
func (s *Store) writeEntries(ctx context.Context, tx *sql.Tx, entries []ledger.Entry) error {
	rows := make([][]any, len(entries))
	for i, e := range entries {
		rows[i] = entryRow(e, nil)
	}
	var parcels [][]any
	err := s.bulk(ctx, tx, insertEntry, ` ON CONFLICT (entry_id) DO NOTHING RETURNING entry_id`, rows, func(r *sql.Rows) error {
		var id string
		err := r.Scan(&id)
		parcels = append(parcels, entryParcel(id))
		return err
	})
	if err == nil {
		err = s.bulk(ctx, tx, insertParcel, ``, parcels, nil)
	}
	if err != nil {
		return fmt.Errorf("writing ledger entries: %w", err)
	}
	return nil
}

const insertEntry = `INSERT INTO billing (` + entryColumns + `, fingerprint, cancelled) VALUES `

func entryRow(e ledger.Entry, fingerprint []byte) []any {
	return []any{
		e.ID, int64(e.Type), e.Tenant, e.InvoiceID, nanos(e.At), e.Amount.Currency, e.Amount.Units, int64(e.Amount.Nanos),
		e.MailID, e.Reference, blob(fingerprint), 0,
	}
}

// missing tells a query without a row from one that failed.
func missing(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// clickNamed finds the click of an id among a tenant's hits; nil if there is none.
func (s *Store) clickNamed(ctx context.Context, tx *sql.Tx, tenant, id string) (*ledger.Click, error) {
	if id == "" {
		return nil, nil //nolint:nilnil // no click was named
	}
	return click(tx.QueryRowContext(ctx, s.db.Rebind(`SELECT m.mail_id, m.invoice_id FROM hits h
		JOIN mails m ON m.tenant = h.tenant AND m.mail_id = h.mail_id
		WHERE h.event_id = ? AND h.tenant = ? AND h.type = ?`), id, tenant, int64(mail.Clicked)))
}

// clickBefore finds the last human click on a mail of the invoice within the
// window before at; nil if there is none.
func (s *Store) clickBefore(ctx context.Context, tx *sql.Tx, tenant, invoiceID string, at time.Time, window time.Duration) (*ledger.Click, error) {
	return click(tx.QueryRowContext(ctx, s.db.Rebind(`SELECT m.mail_id, m.invoice_id FROM mails m
		JOIN hits h ON h.tenant = m.tenant AND h.mail_id = m.mail_id
		WHERE m.tenant = ? AND m.invoice_id = ? AND m.invoice_id <> '' AND h.type = ? AND h.human = 1
		AND h.at > ? AND h.at <= ? ORDER BY h.at DESC LIMIT 1`),
		tenant, invoiceID, int64(mail.Clicked), nanos(at.Add(-window)), nanos(at)))
}

func click(row *sql.Row) (*ledger.Click, error) {
	var c ledger.Click
	err := row.Scan(&c.MailID, &c.InvoiceID)
	if missing(err) {
		return nil, nil //nolint:nilnil // there is no such click
	}
	if err != nil {
		return nil, fmt.Errorf("looking for a click: %w", err)
	}
	return &c, nil
}
