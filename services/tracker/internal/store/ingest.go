package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/db"
	"kurir.dev/services/tracker/internal/ledger"
	"kurir.dev/services/tracker/internal/mail"
)

// Record is one record of Kafka on its way into the store: an event, or what
// could not be read as one and goes to the dead topic.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Event     *mail.Event     // nil for a poison record
	Dead      *broker.Message // nil unless poison
}

// Fate is what became of a record.
type Fate int

// The fates.
const (
	Passed   Fate = iota // its offset was stored before, by another replica
	Repeated             // its event was stored before
	Stored               // its event is new
	Buried               // it is on its way to the dead topic
)

// Result is what Ingest did.
type Result struct {
	Fates []Fate // of the records, in their order
	// LateFinals counts final events of mails that were settled.
	LateFinals int
	// Parcels tells whether there is work in the outbox or among the errands.
	Parcels bool
}

// Ingest stores records, each exactly once, in one transaction:
//
//  1. Line up with other writers and set positions aside.
//  2. Pass over records that the stored offsets say are done.
//  3. Insert the events; those whose id is known are repeats.
//  4. Let the new ones happen to their mails, and the mails' invoices.
//  5. Write mails, hits, invoices, ledger entries, outbox and errands.
//  6. Move the offsets.
//
// The records of one partition must come in order. An error leaves nothing
// behind, or everything if the commit's answer was lost; Ingest may then be
// called again with the same records. ErrRefused says that one of them is at
// fault. turn may be nil.
//
// SQLite syncs every commit: what a reader of the pages did or a product paid is
// nowhere else by then, and the broker may trim what it is shown as stored.
func (s *Store) Ingest(ctx context.Context, records []Record, now time.Time, turn Turn) (Result, error) {
	if turn == nil {
		turn = always{}
	}
	if s.Shared() {
		turn.Leave() // the server computes, and others wait for the lock
		turn = always{}
	}
	var res Result
	// A batch that has begun is seen through. It does not take long, and a
	// context that can end costs SQLite's driver a goroutine for each statement.
	through := context.WithoutCancel(ctx)
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		b := batch{s: s, tx: tx, now: now, turn: turn}
		var err error
		res, err = b.run(through, records)
		turn.Pause() // the sync would be in the way of those who need it more
		turn.Leave()
		return err
	})
	if db.Refused(err) {
		return Result{}, fmt.Errorf("storing events: %w: %w", ErrRefused, err)
	}
	if err != nil {
		return Result{}, fmt.Errorf("storing events: %w", err)
	}
	return res, nil
}

// Turn is a share of the processors, which who ingests has.
type Turn interface {
	// Pause gives it up until those who need it more have had theirs.
	Pause()
	// Leave gives it up: what is left is to wait for the disk or the server.
	Leave()
}

// always is the turn of one who shares with nobody.
type always struct{}

func (always) Pause() {}
func (always) Leave() {}

// portion is how many rows are written between two pauses: well under a
// millisecond's work.
const portion = 32

// batch is one run of Ingest.
type batch struct {
	s    *Store
	tx   *sql.Tx
	now  time.Time
	turn Turn

	mails    map[key]*mail.Mail
	touched  map[key]touch
	order    []key // of touched, as they came
	invoices map[key]*ledger.Invoice
	entries  []ledger.Entry
	hits     [][]any
	errands  [][]any
	dead     []broker.Message
	late     int
}

// touch is how much of a mail an event changed.
type touch int

const (
	moved touch = iota + 1 // its state or its counts
	known                  // also what it is
)

func (b *batch) run(ctx context.Context, records []Record) (Result, error) {
	first, err := b.s.lock(ctx, b.tx, len(records))
	if err != nil {
		return Result{}, err
	}
	res := Result{Fates: make([]Fate, len(records))}
	fresh, next, err := b.guard(ctx, records)
	if err != nil {
		return Result{}, err
	}
	events, err := b.insert(ctx, records, fresh, first, res.Fates)
	if err != nil {
		return Result{}, err
	}
	if err := b.happen(ctx, events); err != nil {
		return Result{}, err
	}
	if err := b.write(ctx); err != nil {
		return Result{}, err
	}
	if err := b.move(ctx, next); err != nil {
		return Result{}, err
	}
	res.LateFinals = b.late
	res.Parcels = len(b.entries)+len(b.dead)+len(b.errands) > 0
	return res, nil
}

// partition names a partition.
type partition struct {
	topic string
	part  int
}

// guard returns the indexes of the records that were not stored before, and
// where each partition goes on after them.
func (b *batch) guard(ctx context.Context, records []Record) ([]int, map[partition]int64, error) {
	next := make(map[partition]int64)
	err := scan(ctx, b.tx, `SELECT topic, part, next FROM offsets`, nil, func(r *sql.Rows) error {
		var p partition
		var n int64
		err := r.Scan(&p.topic, &p.part, &n)
		next[p] = n
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading offsets: %w", err)
	}
	fresh := make([]int, 0, len(records))
	seen := make(map[partition]int64)
	for i, r := range records {
		p := partition{r.Topic, r.Partition}
		if r.Offset < next[p] {
			continue
		}
		next[p] = r.Offset + 1
		seen[p] = r.Offset + 1
		fresh = append(fresh, i)
	}
	return fresh, seen, nil
}

// insert stores the events of the records named by fresh and returns those
// that are new, in order.
func (b *batch) insert(ctx context.Context, records []Record, fresh []int, first int64, fates []Fate) ([]*mail.Event, error) {
	rows := make([][]any, 0, len(fresh))
	ids := make(map[string]bool, len(fresh))
	at := make(map[int64]int, len(fresh))
	for _, i := range fresh {
		if d := records[i].Dead; d != nil {
			fates[i] = Buried
			b.dead = append(b.dead, *d)
			continue
		}
		e := records[i].Event
		fates[i] = Repeated
		if ids[e.ID] {
			continue
		}
		ids[e.ID] = true
		e.Position = first + int64(i)
		at[e.Position] = i
		rows = append(rows, eventRow(e))
	}
	if err := b.s.insertEvents(ctx, b.tx, b.turn, rows, func(position int64) { fates[at[position]] = Stored }); err != nil {
		return nil, fmt.Errorf("inserting events: %w", err)
	}
	var events []*mail.Event
	for _, i := range fresh {
		if fates[i] == Stored {
			events = append(events, records[i].Event)
		}
	}
	return events, nil
}

// happen lets new events happen to their mails and invoices.
func (b *batch) happen(ctx context.Context, events []*mail.Event) error {
	if err := b.load(ctx, events); err != nil {
		return err
	}
	for _, e := range events {
		k := key{e.Tenant, e.MailID}
		m := b.mails[k]
		before := *m
		verdict := m.Apply(*e)
		if verdict == mail.Late {
			b.late++
		}
		b.touch(k, before, m)
		if e.Hit != nil && (e.Type == mail.Opened || e.Type == mail.Clicked) {
			b.hits = append(b.hits, []any{e.ID, e.Tenant, e.MailID, int64(e.Type), flag(e.Hit.Human), e.Hit.Link, nanos(e.At)})
		}
		if m.Facts.InvoiceID != "" {
			b.bill(*e, before, m, verdict)
		}
	}
	return nil
}

// load reads the mails of events, and the invoices of these mails.
func (b *batch) load(ctx context.Context, events []*mail.Event) error {
	b.mails = make(map[key]*mail.Mail, len(events))
	b.touched = make(map[key]touch, len(events))
	b.invoices = make(map[key]*ledger.Invoice)
	keys := make([]key, 0, len(events))
	for _, e := range events {
		k := key{e.Tenant, e.MailID}
		if b.mails[k] == nil {
			b.mails[k] = &mail.Mail{Tenant: e.Tenant, ID: e.MailID}
			keys = append(keys, k)
		}
	}
	if err := b.s.findMails(ctx, b.tx, b.turn, keys, func(m mail.Mail) { *b.mails[key{m.Tenant, m.ID}] = m }); err != nil {
		return err
	}
	want := keys[:0]
	invoice := func(tenant, id string) {
		k := key{tenant, id}
		if id != "" && b.invoices[k] == nil {
			b.invoices[k] = &ledger.Invoice{Tenant: tenant, ID: id, State: ledger.Open}
			want = append(want, k)
		}
	}
	for _, e := range events {
		invoice(e.Tenant, e.Facts.InvoiceID)
	}
	for _, m := range b.mails {
		invoice(m.Tenant, m.Facts.InvoiceID)
	}
	return b.s.invoices(ctx, b.tx, want, func(inv ledger.Invoice) { *b.invoices[key{inv.Tenant, inv.ID}] = inv })
}

// touch remembers what of a mail is to be written.
func (b *batch) touch(k key, before mail.Mail, m *mail.Mail) {
	how := moved
	if len(before.Facts.Body) != len(m.Facts.Body) || before.Accepted != m.Accepted ||
		!before.AcceptedAt.Equal(m.AcceptedAt) || before.Traceparent != m.Traceparent || before.Lane != m.Lane {
		how = known
	}
	if b.touched[k] == 0 {
		b.order = append(b.order, k)
	}
	b.touched[k] = max(b.touched[k], how)
}

// LateReminder is how long after the event that a reminder waits the router is
// asked to cancel it: the event is told before the reminder has come to the
// waiting room, where alone it can be cancelled.
const LateReminder = 3 * time.Second

// bill lets an event happen to the mail's invoice.
func (b *batch) bill(e mail.Event, before mail.Mail, m *mail.Mail, verdict mail.Verdict) {
	inv := b.invoices[key{m.Tenant, m.Facts.InvoiceID}]
	b.entries = append(b.entries, inv.Mail(*m, e, verdict, before.Facts.InvoiceID == "")...)
	waits := m.State == mail.Scheduled || m.State == mail.Deferred || m.State == mail.Held
	if verdict == mail.Moves && waits && m.Facts.Kind == mail.Reminder && inv.State.Settled() {
		b.errands = append(b.errands, errandRow(CancelReminders, inv.Tenant, inv.ID, "", b.now.Add(LateReminder), b.now))
	}
}

// write writes everything but the offsets.
func (b *batch) write(ctx context.Context) error {
	if err := b.writeMails(ctx); err != nil {
		return fmt.Errorf("writing mails: %w", err)
	}
	var invoiceRows [][]any
	for _, inv := range b.invoices {
		if !inv.FirstSeenAt.IsZero() {
			invoiceRows = append(invoiceRows, invoiceRow(inv))
		}
	}
	for _, w := range []struct {
		what, head, tail string
		rows             [][]any
	}{
		{"hits", `INSERT INTO hits (event_id, tenant, mail_id, type, human, link, at) VALUES `, ``, b.hits},
		{"invoices", insertInvoice, knownInvoice, invoiceRows},
		{"errands", insertErrand, ``, b.errands},
	} {
		if err := b.s.bulk(ctx, b.tx, w.head, w.tail, w.rows, nil); err != nil {
			return fmt.Errorf("writing %s: %w", w.what, err)
		}
	}
	if err := b.s.writeEntries(ctx, b.tx, b.entries); err != nil {
		return err
	}
	return b.s.post(ctx, b.tx, b.dead)
}

// writeMails writes the mails that were touched, each once however many events
// it had in this batch.
func (b *batch) writeMails(ctx context.Context) error {
	var moved, whole [][]any
	for _, k := range b.order {
		switch m := b.mails[k]; {
		case b.touched[k] == known:
			whole = append(whole, mailRow(m))
		case b.s.hot != nil:
			moved = append(moved, moveRow(m))
		default:
			moved = append(moved, mailRow(m))
		}
	}
	if h := b.s.hot; h != nil {
		return errors.Join(each(ctx, b.tx, b.turn, h.mail, whole), each(ctx, b.tx, b.turn, h.move, moved))
	}
	return errors.Join(b.s.bulk(ctx, b.tx, insertMail, knownMail, whole, nil), b.s.bulk(ctx, b.tx, insertMail, movedMail, moved, nil))
}

// What moves an offset; its row may be there by the lease, or not.
const (
	offsetWidth  = 5
	insertOffset = `INSERT INTO offsets (topic, part, next, owner, lease_until) VALUES `
	moveOffset   = ` ON CONFLICT (topic, part) DO UPDATE SET next = excluded.next`
)

// move stores where each partition goes on.
func (b *batch) move(ctx context.Context, next map[partition]int64) error {
	rows := make([][]any, 0, len(next))
	for p, n := range next {
		rows = append(rows, []any{p.topic, p.part, n, "", 0})
	}
	var err error
	if h := b.s.hot; h != nil {
		err = each(ctx, b.tx, b.turn, h.next, rows)
	} else {
		err = b.s.bulk(ctx, b.tx, insertOffset, moveOffset, rows, nil)
	}
	if err != nil {
		return fmt.Errorf("moving offsets: %w", err)
	}
	return nil
}
