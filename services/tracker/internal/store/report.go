package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"kurir.dev/services/tracker/internal/ledger"
)

// ErrOtherReport is returned for a report whose key was used for another.
var ErrOtherReport = errors.New("the key belongs to another report")

// Report is what a sender's business tells of an invoice.
type Report struct {
	Entry       ledger.Entry // ID by ledger.ReportID
	ClickID     string       // may be empty
	Fingerprint []byte       // of the request; tells a replay from another report
	Window      time.Duration
	// CancelAt is when the errand that cancels reminders is due, should one
	// follow; who made the report goes first. Zero makes none.
	CancelAt time.Time
}

// Outcome is what a report came to.
type Outcome struct {
	Invoice   ledger.Invoice
	Replayed  bool
	Cancelled int64 // reminders, by an earlier call of a replay
	Errand    *Errand
}

// Report lets a report happen to its invoice, once however often it is made.
func (s *Store) Report(ctx context.Context, r Report, now time.Time) (Outcome, error) {
	var out Outcome
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		out = Outcome{}
		if _, err := s.lock(ctx, tx, 0); err != nil {
			return err
		}
		var err error
		if out.Replayed, out.Cancelled, err = s.replay(ctx, tx, r); err != nil {
			return err
		}
		out.Invoice, err = s.invoice(ctx, tx, r.Entry.Tenant, r.Entry.InvoiceID)
		if errors.Is(err, ErrUnknown) {
			out.Invoice, err = ledger.Invoice{Tenant: r.Entry.Tenant, ID: r.Entry.InvoiceID, State: ledger.Open}, nil
		}
		if err != nil || out.Replayed {
			return err
		}
		return s.settle(ctx, tx, r, &out, now)
	})
	return out, err
}

// replay tells whether the report was made before.
func (s *Store) replay(ctx context.Context, tx *sql.Tx, r Report) (replayed bool, cancelled int64, err error) {
	var fingerprint []byte
	err = tx.QueryRowContext(ctx, s.db.Rebind(`SELECT fingerprint, cancelled FROM billing WHERE entry_id = ?`), r.Entry.ID).
		Scan(&fingerprint, &cancelled)
	switch {
	case missing(err):
		return false, 0, nil
	case err != nil:
		return false, 0, fmt.Errorf("looking for the report: %w", err)
	case !bytes.Equal(fingerprint, r.Fingerprint):
		return false, 0, ErrOtherReport
	}
	return true, cancelled, nil
}

// settle writes a new report and what follows from it.
func (s *Store) settle(ctx context.Context, tx *sql.Tx, r Report, out *Outcome, now time.Time) error {
	ev := ledger.Evidence{ClickID: r.ClickID}
	entry := r.Entry
	if entry.Type == ledger.Paid {
		var err error
		if ev.Named, err = s.clickNamed(ctx, tx, entry.Tenant, r.ClickID); err != nil {
			return err
		}
		if ev.Last, err = s.clickBefore(ctx, tx, entry.Tenant, entry.InvoiceID, entry.At, r.Window); err != nil {
			return err
		}
	}
	entry = out.Invoice.Report(entry, ev)
	if err := s.bulk(ctx, tx, insertInvoice, knownInvoice, [][]any{invoiceRow(&out.Invoice)}, nil); err != nil {
		return fmt.Errorf("writing the invoice: %w", err)
	}
	if err := s.bulk(ctx, tx, insertEntry, ``, [][]any{entryRow(entry, r.Fingerprint)}, nil); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := s.bulk(ctx, tx, insertParcel, ``, [][]any{entryParcel(entry.ID)}, nil); err != nil {
		return fmt.Errorf("posting the report: %w", err)
	}
	ends := (entry.Type == ledger.Paid || entry.Type == ledger.Voided) && out.Invoice.State.Settled()
	if !ends || r.CancelAt.IsZero() {
		return nil
	}
	errand := Errand{Kind: CancelReminders, Tenant: entry.Tenant, Subject: entry.InvoiceID, EntryID: entry.ID, Since: now}
	err := s.bulk(ctx, tx, insertErrand, ` RETURNING id`,
		[][]any{errandRow(errand.Kind, errand.Tenant, errand.Subject, errand.EntryID, r.CancelAt, now)},
		func(rows *sql.Rows) error { return rows.Scan(&errand.ID) })
	if err != nil {
		return fmt.Errorf("writing the errand: %w", err)
	}
	out.Errand = &errand
	return nil
}
