// Package storetest holds the duties of the tracker's store, as one suite that
// every database has to pass.
//
// It is for tests alone and imports testing.
package storetest

import (
	"fmt"
	"testing"
	"time"

	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
)

// Open gives a test an empty store that is closed with it.
type Open func(t *testing.T) *store.Store

// Run runs all duties, each on an empty store.
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, duty := range []struct {
		name string
		test func(t *testing.T, s *store.Store)
	}{
		{"events make mails", eventsMakeMails},
		{"order across topics does not matter", orderDoesNotMatter},
		{"an event id counts once", eventCountsOnce},
		{"an offset counts once", offsetCountsOnce},
		{"the first final wins", firstFinalWins},
		{"a story is of one moment", storyIsOfOneMoment},
		{"poison goes to the outbox", poisonIsPosted},
		{"tenants are apart", tenantsAreApart},
		{"mails are listed by every filter", mailsAreListed},
		{"events are paged by position", eventsArePaged},
		{"concurrent writers count once", concurrentWriters},
		{"an invoice lives", invoiceLives},
		{"a payment is laid to a click", paymentIsAttributed},
		{"a report counts once", reportCountsOnce},
		{"a late click settles a payment", lateClickSettles},
		{"invoices are listed", invoicesAreListed},
		{"parcels are claimed and delivered", parcelsAreClaimed},
		{"errands are claimed until done", errandsAreClaimed},
		{"a reminder of a paid invoice is called off", reminderIsCalledOff},
		{"partitions are shared out", partitionsAreShared},
		{"a report counts mails by group", reportCounts},
	} {
		t.Run(duty.name, func(t *testing.T) {
			t.Parallel()
			duty.test(t, open(t))
		})
	}
}

// Noon is when the stories of the suite begin.
func Noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC) }

const (
	tenant = "acme"
	topic  = "kurir.events"
)

func id(n int) string { return fmt.Sprintf("01900000-0000-7000-8000-%012d", n) }

// story makes the events of one mail, a second apart.
type story struct {
	tenant string
	mailID string
	lane   string
	facts  mail.Facts
	start  time.Time
}

func bill(n int, invoice string) story {
	return story{tenant: tenant, mailID: id(n), lane: "billing", start: Noon().Add(time.Duration(n) * time.Minute), facts: mail.Facts{
		Kind: mail.Bill, Template: "bill", Version: "1", InvoiceID: invoice, Recipient: fmt.Sprintf("r%d@example.test", n),
		Domain: "example.test", Amount: mail.Money{Currency: "IDR", Units: 150_000}, DueOn: "2026-12-01", Body: []byte("facts"),
	}}
}

func reminder(n int, invoice string) story {
	s := bill(n, invoice)
	s.lane, s.facts.Kind, s.facts.ReminderStep = "reminder", mail.Reminder, "due-3"
	return s
}

func (s story) event(t mail.Type, attempt uint32, after time.Duration) *mail.Event {
	return &mail.Event{
		ID: fmt.Sprintf("%s/%d/0/%s", s.mailID, attempt, t), Type: t, MailID: s.mailID, Tenant: s.tenant, Lane: s.lane,
		Attempt: attempt, At: s.start.Add(after), Facts: s.facts, Traceparent: "00-" + s.mailID[:8], Body: []byte(t.String()),
	}
}

func (s story) hit(id string, t mail.Type, link string, human bool, after time.Duration) *mail.Event {
	e := s.event(t, 0, after)
	e.ID, e.Hit = id, &mail.Hit{Link: link, Human: human}
	return e
}

// feed stores events as the next records of a partition.
type feed struct {
	s    *store.Store
	part int
	next int64
}

func (f *feed) take(t *testing.T, events ...*mail.Event) store.Result {
	t.Helper()
	records := make([]store.Record, len(events))
	for i, e := range events {
		records[i] = store.Record{Topic: topic, Partition: f.part, Offset: f.next, Event: e}
		f.next++
	}
	res, err := f.s.Ingest(t.Context(), records, Noon(), nil)
	if err != nil {
		t.Fatalf("Ingest(%d events) = %v, want no error", len(events), err)
	}
	return res
}

func mustMail(t *testing.T, s *store.Store, tenant, id string) mail.Mail {
	t.Helper()
	m, err := s.Mail(t.Context(), tenant, id)
	if err != nil {
		t.Fatalf("Mail(%q, %q) = %v, want no error", tenant, id, err)
	}
	return m
}
