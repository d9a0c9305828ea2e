// Package ledger keeps the life of an invoice: when it was mailed, opened,
// reminded of, clicked and paid, and which mail brought the payment.
//
// An invoice is fed from two sides: by the events of its mails (Mail), and by
// what the sender's business reports of it (Report). Both may come in any
// order, and an invoice exists from the first that names it.
package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"kurir.dev/services/tracker/internal/mail"
)

// PayLink is the label of the link in a bill or reminder that leads to the
// payment.
const PayLink = "pay"

// How a payment's mail was found.
const (
	ByClick     = "click_id"
	ByLastClick = "last_click"
)

// Invoice is one line of the ledger.
type Invoice struct {
	Tenant      string
	ID          string
	State       State
	Amount      mail.Money
	DueOn       string // YYYY-MM-DD, or empty
	FirstSeenAt time.Time
	PaidAt      time.Time // zero unless paid
	PaidAmount  mail.Money
	PaidBy      string // mail id; empty when no mail is known to have brought it
	Attribution string // ByClick, ByLastClick or empty
	PaidClick   string // the click id the payment named, if any
	Opens       int64  // human
	Clicks      int64  // human
	Mails       int64
}

// Entry is one step in the life of an invoice.
type Entry struct {
	ID        string // repeats carry the same
	Type      Type
	Tenant    string
	InvoiceID string
	At        time.Time
	Amount    mail.Money // zero where none is meant
	MailID    string     // empty when none is known
	Reference string     // of PAID
}

// Mail lets an event of one of the invoice's mails happen to it. The mail is
// as the event left it; first is true with the first event that tied the mail
// to the invoice. What it returns are the steps the invoice went by it.
func (inv *Invoice) Mail(m mail.Mail, e mail.Event, verdict mail.Verdict, first bool) []Entry {
	if first {
		inv.meet(m, e)
	}
	step := func(id string, t Type) []Entry {
		return []Entry{{ID: id, Type: t, Tenant: inv.Tenant, InvoiceID: inv.ID, At: e.At, MailID: m.ID}}
	}
	human := e.Hit != nil && e.Hit.Human
	switch {
	case e.Type == mail.DeliveredTo && verdict == mail.Moves && m.Facts.Kind == mail.Reminder:
		return step(m.ID+":reminded", Reminded)
	case e.Type == mail.DeliveredTo && verdict == mail.Moves:
		return step(m.ID+":mailed", Mailed)
	case e.Type == mail.Opened && human:
		inv.Opens++
		return step(e.ID, OpenedMail)
	case e.Type == mail.Clicked:
		inv.claim(m, e)
		if !human {
			return nil
		}
		inv.Clicks++
		if e.Hit.Link == PayLink {
			return step(e.ID, PayClicked)
		}
	}
	return nil
}

// meet takes over what a mail says about its invoice. A bill's word counts
// more than a reminder's, which may ask for a rest.
func (inv *Invoice) meet(m mail.Mail, e mail.Event) {
	inv.Mails++
	if inv.FirstSeenAt.IsZero() || e.At.Before(inv.FirstSeenAt) {
		inv.FirstSeenAt = e.At
	}
	if inv.Amount == (mail.Money{}) || m.Facts.Kind == mail.Bill {
		inv.Amount = m.Facts.Amount
	}
	if inv.DueOn == "" || m.Facts.Kind == mail.Bill {
		inv.DueOn = m.Facts.DueOn
	}
}

// claim settles a payment on the click it named, when that click is stored
// only after the payment.
func (inv *Invoice) claim(m mail.Mail, e mail.Event) {
	if inv.PaidClick != "" && inv.PaidClick == e.ID && inv.Attribution != ByClick {
		inv.PaidBy, inv.Attribution = m.ID, ByClick
	}
}

// Click is a stored click on a mail of an invoice.
type Click struct {
	MailID    string
	InvoiceID string
}

// Evidence is what is known of the clicks before a payment.
type Evidence struct {
	ClickID string // as the payment named it; may be empty
	Named   *Click // the click of that id; nil when it is not known
	Last    *Click // the last human click within the window; nil when none
}

// Report lets a reported step happen to the invoice and returns it as the
// ledger keeps it, the mail that brought a payment filled in. A payment of an
// invoice that is paid already is kept, but the first one stands.
func (inv *Invoice) Report(e Entry, ev Evidence) Entry {
	if inv.FirstSeenAt.IsZero() {
		inv.FirstSeenAt = e.At
	}
	before := inv.State
	inv.State = Next(before, e.Type)
	if e.Type == Issued && e.Amount != (mail.Money{}) {
		inv.Amount = e.Amount
	}
	if e.Type != Paid {
		return e
	}
	mailID, how := ev.attribute(inv.ID)
	e.MailID = mailID
	if before != PaidUp {
		inv.PaidAt, inv.PaidAmount, inv.PaidClick = e.At, e.Amount, ev.ClickID
		inv.PaidBy, inv.Attribution = mailID, how
	}
	return e
}

func (ev Evidence) attribute(invoiceID string) (mailID, how string) {
	switch {
	case ev.Named != nil && ev.Named.InvoiceID == invoiceID:
		return ev.Named.MailID, ByClick
	case ev.Last != nil:
		return ev.Last.MailID, ByLastClick
	}
	return "", ""
}

// ReportID names the step that a tenant reports under an idempotency key.
func ReportID(tenant, key string) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + key))
	return "report:" + hex.EncodeToString(sum[:16])
}
