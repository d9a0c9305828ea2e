package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/broker"
	"kurir.dev/services/tracker/internal/ledger"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
)

func report(kind ledger.Type, key, invoice string, at time.Time) store.Report {
	r := store.Report{
		Entry: ledger.Entry{
			ID: ledger.ReportID(tenant, key), Type: kind, Tenant: tenant, InvoiceID: invoice, At: at,
		},
		Fingerprint: []byte(key + invoice), Window: 30 * 24 * time.Hour, CancelAt: at.Add(time.Minute),
	}
	if kind == ledger.Paid {
		r.Entry.Amount, r.Entry.Reference = mail.Money{Currency: "IDR", Units: 150_000}, "TRX-1"
	}
	return r
}

func mustReport(t *testing.T, s *store.Store, r store.Report) store.Outcome {
	t.Helper()
	out, err := s.Report(t.Context(), r, Noon())
	if err != nil {
		t.Fatalf("Report(%v %s) = %v, want no error", r.Entry.Type, r.Entry.InvoiceID, err)
	}
	return out
}

func mustInvoice(t *testing.T, s *store.Store, id string) ledger.Invoice {
	t.Helper()
	inv, err := s.Invoice(t.Context(), tenant, id)
	if err != nil {
		t.Fatalf("Invoice(%q) = %v, want no error", id, err)
	}
	return inv
}

func invoiceLives(t *testing.T, s *store.Store) {
	b, r := bill(1, "INV-1"), reminder(2, "INV-1")
	f := &feed{s: s}
	f.take(t, b.event(mail.Accepted, 0, 0))
	if inv := mustInvoice(t, s, "INV-1"); inv.State != ledger.Open || inv.Mails != 1 || !inv.FirstSeenAt.Equal(b.start) {
		t.Errorf("after acceptance: Invoice = %+v, want open, 1 mail, since %v", inv, b.start)
	}
	f.take(t, b.event(mail.DeliveredTo, 1, time.Second), b.hit("open-1", mail.Opened, "", true, time.Minute),
		b.hit("scan-1", mail.Clicked, "pay", false, time.Minute))
	mustReport(t, s, report(ledger.Overdue, "k1", "INV-1", b.start.Add(2*time.Minute)))
	f.take(t, r.event(mail.Accepted, 0, 3*time.Minute), r.event(mail.DeliveredTo, 1, 3*time.Minute+time.Second),
		r.hit("click-1", mail.Clicked, "pay", true, 4*time.Minute), r.hit("click-2", mail.Clicked, "help", true, 5*time.Minute))
	mustReport(t, s, report(ledger.Paid, "k2", "INV-1", r.start.Add(10*time.Minute)))

	want := ledger.Invoice{
		Tenant: tenant, ID: "INV-1", State: ledger.PaidUp, Amount: mail.Money{Currency: "IDR", Units: 150_000}, DueOn: "2026-12-01",
		FirstSeenAt: b.start, PaidAt: r.start.Add(10 * time.Minute), PaidAmount: mail.Money{Currency: "IDR", Units: 150_000},
		PaidBy: r.mailID, Attribution: ledger.ByLastClick, Opens: 1, Clicks: 2, Mails: 2,
	}
	if diff := cmp.Diff(want, mustInvoice(t, s, "INV-1")); diff != "" {
		t.Errorf("Invoice differs (-want +got):\n%s", diff)
	}
	life, err := s.Life(t.Context(), tenant, "INV-1")
	if err != nil {
		t.Fatalf("Life = %v, want no error", err)
	}
	var got []string
	for _, e := range life {
		got = append(got, e.Type.String())
	}
	wantLife := []string{"MAILED", "OPENED", "OVERDUE", "REMINDED", "PAY_CLICKED", "PAID"}
	if diff := cmp.Diff(wantLife, got); diff != "" {
		t.Errorf("Life differs (-want +got):\n%s", diff)
	}
	parcels, err := s.ClaimParcels(t.Context(), Noon(), Noon().Add(time.Minute), 100)
	if err != nil {
		t.Fatalf("ClaimParcels = %v, want no error", err)
	}
	posted := map[ledger.Entry]bool{}
	for _, p := range parcels {
		posted[*p.Entry] = true
	}
	for _, e := range life {
		if !posted[e] {
			t.Errorf("entry %+v is not in the outbox", e)
		}
	}
}

func paymentIsAttributed(t *testing.T, s *store.Store) {
	f := &feed{s: s}
	for n := 1; n <= 4; n++ {
		inv := fmt.Sprintf("INV-%d", n)
		b := bill(n, inv)
		b.start = Noon()
		f.take(t, b.event(mail.Accepted, 0, 0), b.event(mail.DeliveredTo, 1, time.Second))
		f.take(t, b.hit(fmt.Sprintf("old-%d", n), mail.Clicked, "pay", true, time.Hour))
		f.take(t, b.hit(fmt.Sprintf("machine-%d", n), mail.Clicked, "pay", false, 2*time.Hour))
	}
	second := bill(11, "INV-1")
	second.start = Noon()
	f.take(t, second.event(mail.Accepted, 0, 0), second.hit("new-1", mail.Clicked, "pay", true, 3*time.Hour))
	for _, c := range []struct {
		name, invoice, click string
		after                time.Duration
		wantMail, how        string
	}{
		{"the last human click", "INV-1", "", 4 * time.Hour, second.mailID, ledger.ByLastClick},
		{"the click that was named", "INV-2", "machine-2", 4 * time.Hour, id(2), ledger.ByClick},
		{"a click of another invoice", "INV-3", "old-4", 4 * time.Hour, id(3), ledger.ByLastClick},
		{"a click after the payment", "INV-4", "", time.Minute, "", ""},
	} {
		r := report(ledger.Paid, "pay "+c.invoice, c.invoice, Noon().Add(c.after))
		r.ClickID = c.click
		inv := mustReport(t, s, r).Invoice
		if inv.PaidBy != c.wantMail || inv.Attribution != c.how {
			t.Errorf("%s: paid by %q (%s), want %q (%s)", c.name, inv.PaidBy, inv.Attribution, c.wantMail, c.how)
		}
	}
	b := bill(5, "INV-5")
	f.take(t, b.event(mail.Accepted, 0, 0), b.hit("old-5", mail.Clicked, "pay", true, 0))
	if inv := mustReport(t, s, report(ledger.Paid, "late", "INV-5", b.start.Add(31*24*time.Hour))).Invoice; inv.PaidBy != "" {
		t.Errorf("a click before the window: paid by %q, want none", inv.PaidBy)
	}
}

func reportCountsOnce(t *testing.T, s *store.Store) {
	first := mustReport(t, s, report(ledger.Paid, "k", "INV-1", Noon()))
	if first.Replayed || first.Errand == nil || first.Invoice.State != ledger.PaidUp {
		t.Errorf("first Report = %+v, want new, with an errand, PAID", first)
	}
	if err := s.Done(t.Context(), *first.Errand, 3); err != nil {
		t.Fatalf("Done = %v, want no error", err)
	}
	again := mustReport(t, s, report(ledger.Paid, "k", "INV-1", Noon()))
	if !again.Replayed || again.Errand != nil || again.Cancelled != 3 {
		t.Errorf("second Report = %+v, want replayed, no errand, 3 cancelled", again)
	}
	if diff := cmp.Diff(first.Invoice, again.Invoice); diff != "" {
		t.Errorf("the replay's invoice differs (-first +again):\n%s", diff)
	}
	other := report(ledger.Voided, "k", "INV-1", Noon())
	other.Fingerprint = []byte("another")
	if _, err := s.Report(t.Context(), other, Noon()); !errors.Is(err, store.ErrOtherReport) {
		t.Errorf("Report(same key, other body) = %v, want %v", err, store.ErrOtherReport)
	}
	mustReport(t, s, report(ledger.Paid, "k2", "INV-1", Noon().Add(time.Hour)))
	if inv := mustInvoice(t, s, "INV-1"); !inv.PaidAt.Equal(Noon()) {
		t.Errorf("paid at %v, want the first payment's %v", inv.PaidAt, Noon())
	}
}

func lateClickSettles(t *testing.T, s *store.Store) {
	b := bill(1, "INV-1")
	f := &feed{s: s}
	f.take(t, b.event(mail.Accepted, 0, 0))
	r := report(ledger.Paid, "k", "INV-1", b.start.Add(time.Hour))
	r.ClickID = "click-1"
	if inv := mustReport(t, s, r).Invoice; inv.PaidBy != "" {
		t.Errorf("before the click: paid by %q, want none", inv.PaidBy)
	}
	f.take(t, b.hit("click-1", mail.Clicked, "pay", true, 50*time.Minute))
	if inv := mustInvoice(t, s, "INV-1"); inv.PaidBy != b.mailID || inv.Attribution != ledger.ByClick {
		t.Errorf("after the click: paid by %q (%s), want %q (%s)", inv.PaidBy, inv.Attribution, b.mailID, ledger.ByClick)
	}
}

func invoicesAreListed(t *testing.T, s *store.Store) {
	for n := 1; n <= 5; n++ {
		kind := ledger.Issued
		if n%2 == 0 {
			kind = ledger.Overdue
		}
		inv := fmt.Sprintf("INV-%d", n)
		mustReport(t, s, report(kind, inv, inv, Noon().Add(time.Duration(n)*time.Minute)))
	}
	for _, c := range []struct {
		state ledger.State
		want  []string
	}{
		{ledger.NoState, []string{"INV-5", "INV-4", "INV-3", "INV-2", "INV-1"}},
		{ledger.PastDue, []string{"INV-4", "INV-2"}},
		{ledger.Open, []string{"INV-5", "INV-3", "INV-1"}},
		{ledger.Void, nil},
	} {
		var got []string
		f := store.InvoiceFilter{State: c.state, Limit: 2}
		for {
			page, err := s.Invoices(t.Context(), tenant, f)
			if err != nil {
				t.Fatalf("Invoices(%v) = %v, want no error", c.state, err)
			}
			for _, inv := range page {
				got = append(got, inv.ID)
			}
			if len(page) < f.Limit {
				break
			}
			last := page[len(page)-1]
			f.AfterTime, f.AfterID = last.FirstSeenAt, last.ID
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("Invoices(%v) differ (-want +got):\n%s", c.state, diff)
		}
	}
}

func parcelsAreClaimed(t *testing.T, s *store.Store) {
	message := func(n int) broker.Message {
		return broker.Message{Topic: "t", Partition: n, Key: []byte("k"), Value: []byte{byte(n)}, Headers: []broker.Header{{Key: "h", Value: []byte("v")}}}
	}
	if err := s.Post(t.Context(), []broker.Message{message(1), message(2), message(3)}); err != nil {
		t.Fatalf("Post = %v, want no error", err)
	}
	claim := func(at time.Duration) []store.Parcel {
		t.Helper()
		p, err := s.ClaimParcels(t.Context(), Noon().Add(at), Noon().Add(at+time.Minute), 2)
		if err != nil {
			t.Fatalf("ClaimParcels = %v, want no error", err)
		}
		return p
	}
	first, second := claim(0), claim(0)
	if len(first) != 2 || len(second) != 1 || len(claim(0)) != 0 {
		t.Fatalf("claims have %d and %d parcels, want 2 and 1", len(first), len(second))
	}
	if diff := cmp.Diff(message(1), first[0].Message); diff != "" {
		t.Errorf("parcel differs (-want +got):\n%s", diff)
	}
	if err := s.Delivered(t.Context(), []int64{first[0].ID, second[0].ID}); err != nil {
		t.Fatalf("Delivered = %v, want no error", err)
	}
	if err := s.Return(t.Context(), []int64{first[1].ID}); err != nil {
		t.Fatalf("Return = %v, want no error", err)
	}
	if again := claim(0); len(again) != 1 || again[0].ID != first[1].ID {
		t.Errorf("after Return: %d parcels, want the one given back", len(again))
	}
	if again := claim(2 * time.Minute); len(again) != 1 || again[0].ID != first[1].ID {
		t.Errorf("after the claim ended: %d parcels, want the one not delivered", len(again))
	}
	if w, err := s.Waiting(t.Context()); err != nil || w.Parcels != 1 {
		t.Errorf("Waiting = %+v, %v, want 1 parcel", w, err)
	}
}

func errandsAreClaimed(t *testing.T, s *store.Store) {
	e, err := s.AddErrand(t.Context(), store.Errand{Kind: store.Suppress, Tenant: tenant, Subject: id(1), Since: Noon()}, Noon().Add(time.Second))
	if err != nil {
		t.Fatalf("AddErrand = %v, want no error", err)
	}
	claim := func(at time.Duration) []store.Errand {
		t.Helper()
		out, err := s.ClaimErrands(t.Context(), Noon().Add(at), Noon().Add(at+time.Minute), 10)
		if err != nil {
			t.Fatalf("ClaimErrands = %v, want no error", err)
		}
		return out
	}
	if got := claim(0); len(got) != 0 {
		t.Errorf("before it is due: %d errands, want 0", len(got))
	}
	e.Attempts = 1
	if diff := cmp.Diff([]store.Errand{e}, claim(time.Second)); diff != "" {
		t.Errorf("claimed errands differ (-want +got):\n%s", diff)
	}
	if err := s.PutOff(t.Context(), e.ID, Noon().Add(5*time.Second)); err != nil {
		t.Fatalf("PutOff = %v, want no error", err)
	}
	if got := claim(5 * time.Second); len(got) != 1 || got[0].Attempts != 2 {
		t.Errorf("after PutOff: %+v, want one with 2 attempts", got)
	}
	if err := s.Done(t.Context(), e, 0); err != nil {
		t.Fatalf("Done = %v, want no error", err)
	}
	if got := claim(time.Hour); len(got) != 0 {
		t.Errorf("after Done: %d errands, want 0", len(got))
	}
}

func reminderIsCalledOff(t *testing.T, s *store.Store) {
	r := report(ledger.Paid, "k", "INV-1", Noon())
	r.CancelAt = time.Time{}
	mustReport(t, s, r)
	f := &feed{s: s}
	f.take(t, bill(1, "INV-1").event(mail.DeferredFor, 1, 0))
	late := reminder(2, "INV-1")
	f.take(t, late.event(mail.ScheduledFor, 0, 0))
	due := Noon().Add(store.LateReminder)
	if got, err := s.ClaimErrands(t.Context(), due.Add(-1), due, 10); err != nil || len(got) != 0 {
		t.Errorf("ClaimErrands = %+v, %v, want none while the reminder is on its way to the waiting room", got, err)
	}
	got, err := s.ClaimErrands(t.Context(), due, due, 10)
	if err != nil || len(got) != 1 || got[0].Kind != store.CancelReminders || got[0].Subject != "INV-1" {
		t.Errorf("ClaimErrands = %+v, %v, want the one that cancels the reminder", got, err)
	}
}

func partitionsAreShared(t *testing.T, s *store.Store) {
	var parts []store.Partition
	for p := range 4 {
		parts = append(parts, store.Partition{Topic: topic, Partition: p})
	}
	lease := func(who string, at time.Duration) []store.Partition {
		t.Helper()
		got, err := s.Lease(t.Context(), who, parts, Noon().Add(at), Noon().Add(at+time.Minute))
		if err != nil {
			t.Fatalf("Lease(%q) = %v, want no error", who, err)
		}
		return got
	}
	if got := lease("a", 0); len(got) != 4 || got[0].Next != -1 {
		t.Fatalf("Lease(a) = %+v, want all four, never read", got)
	}
	if got := lease("b", 0); len(got) != 0 {
		t.Errorf("Lease(b) = %d partitions while a has all, want 0", len(got))
	}
	if got := lease("a", time.Second); len(got) != 2 {
		t.Errorf("Lease(a) = %d partitions beside b, want 2", len(got))
	}
	if got := lease("b", time.Second); len(got) != 2 {
		t.Errorf("Lease(b) = %d partitions beside a, want 2", len(got))
	}
	if err := s.Leave(t.Context(), "b"); err != nil {
		t.Fatalf("Leave(b) = %v, want no error", err)
	}
	if got := lease("a", 2*time.Second); len(got) != 4 {
		t.Errorf("Lease(a) = %d partitions after b left, want 4", len(got))
	}
	if got := lease("c", time.Hour); len(got) != 4 {
		t.Errorf("Lease(c) = %d partitions after a died, want 4", len(got))
	}
	f := &feed{s: s, part: 2}
	f.take(t, bill(1, "").event(mail.Accepted, 0, 0))
	if got := lease("c", time.Hour); got[2].Next != 1 {
		t.Errorf("Next of partition 2 = %d, want 1", got[2].Next)
	}
	if err := s.Reset(t.Context(), store.Partition{Topic: topic, Partition: 2, Next: 0}); err != nil {
		t.Fatalf("Reset = %v, want no error", err)
	}
	if got := lease("c", time.Hour); got[2].Next != 0 {
		t.Errorf("Next of partition 2 after Reset = %d, want 0", got[2].Next)
	}
}
