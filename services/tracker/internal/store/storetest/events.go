package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/broker"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
)

func eventsMakeMails(t *testing.T, s *store.Store) {
	b := bill(1, "INV-1")
	f := &feed{s: s}
	f.take(t, b.event(mail.Accepted, 0, 0), b.event(mail.DeliveredTo, 1, time.Second))
	f.take(t, b.hit("hit-1", mail.Opened, "", true, time.Minute), b.hit("hit-2", mail.Opened, "", false, time.Minute),
		b.hit("hit-3", mail.Clicked, "pay", true, 2*time.Minute))
	want := mail.Mail{
		ID: b.mailID, Tenant: tenant, Lane: "billing", State: mail.Delivered, Facts: b.facts,
		Progress: mail.Progress{At: b.start.UnixNano()}, AcceptedAt: b.start, Accepted: true,
		DeliveredAt: b.start.Add(time.Second), SettledAt: b.start.Add(time.Second),
		Opens: 1, Clicks: 1, MachineHits: 1, Traceparent: "00-01900000",
	}
	if diff := cmp.Diff(want, mustMail(t, s, tenant, b.mailID)); diff != "" {
		t.Errorf("Mail(%q) differs (-want +got):\n%s", b.mailID, diff)
	}
	timeline, err := s.Timeline(t.Context(), tenant, b.mailID)
	if err != nil {
		t.Fatalf("Timeline(%q) = %v, want no error", b.mailID, err)
	}
	var got []string
	for _, e := range timeline {
		got = append(got, e.Type.String()+" "+string(e.Body)+" "+string(e.Facts.Body))
	}
	wantLine := []string{
		"ACCEPTED ACCEPTED facts", "DELIVERED DELIVERED facts", "OPENED OPENED facts", "OPENED OPENED facts", "CLICKED CLICKED facts",
	}
	if diff := cmp.Diff(wantLine, got); diff != "" {
		t.Errorf("Timeline(%q) differs (-want +got):\n%s", b.mailID, diff)
	}
	if _, err := s.Mail(t.Context(), tenant, id(99)); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("Mail(unknown) = %v, want %v", err, store.ErrUnknown)
	}
}

func orderDoesNotMatter(t *testing.T, s *store.Store) {
	b := bill(0, "INV-1")
	events := []mail.Type{mail.Accepted, mail.DeferredFor, mail.Released, mail.Committing, mail.DeliveredTo}
	attempts := []uint32{0, 1, 2, 2, 2}
	f := &feed{s: s}
	n := 0
	permute(len(events), func(order []int) {
		n++
		b.mailID = id(n)
		for _, i := range order {
			f.take(t, b.event(events[i], attempts[i], time.Duration(i)*time.Second))
		}
		m := mustMail(t, s, tenant, b.mailID)
		if m.State != mail.Delivered || !m.AcceptedAt.Equal(b.start) || !m.SettledAt.Equal(b.start.Add(4*time.Second)) {
			t.Errorf("order %v: Mail = %v accepted %v settled %v, want DELIVERED %v %v",
				order, m.State, m.AcceptedAt, m.SettledAt, b.start, b.start.Add(4*time.Second))
		}
	})
}

func permute(n int, visit func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var walk func(int)
	walk = func(k int) {
		if k == n {
			visit(slices.Clone(order))
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			walk(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	walk(0)
}

func eventCountsOnce(t *testing.T, s *store.Store) {
	b := bill(1, "INV-1")
	f := &feed{s: s}
	res := f.take(t, b.hit("hit-1", mail.Opened, "", true, 0), b.hit("hit-1", mail.Opened, "", true, 0))
	if diff := cmp.Diff([]store.Fate{store.Stored, store.Repeated}, res.Fates); diff != "" {
		t.Errorf("fates in one batch differ (-want +got):\n%s", diff)
	}
	if res = f.take(t, b.hit("hit-1", mail.Opened, "", true, 0)); res.Fates[0] != store.Repeated {
		t.Errorf("fate in the next batch = %v, want %v", res.Fates[0], store.Repeated)
	}
	other := &feed{s: s, part: 3}
	if res = other.take(t, b.hit("hit-1", mail.Opened, "", true, 0)); res.Fates[0] != store.Repeated {
		t.Errorf("fate on another partition = %v, want %v", res.Fates[0], store.Repeated)
	}
	if m := mustMail(t, s, tenant, b.mailID); m.Opens != 1 {
		t.Errorf("opens = %d, want 1", m.Opens)
	}
}

func offsetCountsOnce(t *testing.T, s *store.Store) {
	f := &feed{s: s}
	f.take(t, bill(1, "").event(mail.Accepted, 0, 0), bill(2, "").event(mail.Accepted, 0, 0))
	again := &feed{s: s, next: 1}
	res := again.take(t, bill(3, "").event(mail.Accepted, 0, 0), bill(4, "").event(mail.Accepted, 0, 0))
	if diff := cmp.Diff([]store.Fate{store.Passed, store.Stored}, res.Fates); diff != "" {
		t.Errorf("fates differ (-want +got):\n%s", diff)
	}
	if _, err := s.Mail(t.Context(), tenant, id(3)); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("Mail(of a passed record) = %v, want %v", err, store.ErrUnknown)
	}
}

func firstFinalWins(t *testing.T, s *store.Store) {
	b := bill(1, "")
	f := &feed{s: s}
	f.take(t, b.event(mail.Accepted, 0, 0), b.event(mail.DeliveredTo, 1, time.Second))
	if res := f.take(t, b.event(mail.RanOut, 1, 2*time.Second)); res.LateFinals != 1 {
		t.Errorf("LateFinals = %d, want 1", res.LateFinals)
	}
	if m := mustMail(t, s, tenant, b.mailID); m.State != mail.Delivered {
		t.Errorf("state = %v, want %v", m.State, mail.Delivered)
	}
	if line, err := s.Timeline(t.Context(), tenant, b.mailID); err != nil || len(line) != 3 {
		t.Errorf("Timeline has %d events (%v), want 3", len(line), err)
	}
}

// storyIsOfOneMoment reads a mail's story while one open after the other is
// stored: the mail counts those that are in the timeline, no more and no fewer.
func storyIsOfOneMoment(t *testing.T, s *store.Store) {
	const opens = 100
	b := bill(1, "")
	f := &feed{s: s}
	if _, _, err := s.Story(t.Context(), tenant, b.mailID); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("Story of a mail that nobody knows = %v, want %v", err, store.ErrUnknown)
	}
	f.take(t, b.event(mail.Accepted, 0, 0))
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := range opens {
			f.take(t, b.hit(fmt.Sprintf("hit-%d", n), mail.Opened, "", true, time.Minute))
		}
	})
	defer writing.Wait()
	for seen := int64(0); seen < opens; {
		m, line, err := s.Story(t.Context(), tenant, b.mailID)
		if err != nil {
			t.Fatalf("Story(%q) = %v, want no error", b.mailID, err)
		}
		told := int64(0)
		for _, e := range line {
			if e.Type == mail.Opened {
				told++
			}
		}
		if m.Opens != told {
			t.Fatalf("the mail has %d opens, its timeline %d", m.Opens, told)
		}
		seen = told
	}
}

func poisonIsPosted(t *testing.T, s *store.Store) {
	dead := broker.Message{Topic: "kurir.dead", Partition: -1, Key: []byte("k"), Value: []byte("v"), Headers: []broker.Header{{Key: "why", Value: []byte("no")}}}
	records := []store.Record{
		{Topic: topic, Offset: 0, Dead: &dead},
		{Topic: topic, Offset: 1, Event: bill(1, "").event(mail.Accepted, 0, 0)},
	}
	for range 2 { // the second time both are passed over
		if _, err := s.Ingest(t.Context(), records, Noon(), nil); err != nil {
			t.Fatalf("Ingest = %v, want no error", err)
		}
	}
	parcels, err := s.ClaimParcels(t.Context(), Noon(), Noon().Add(time.Minute), 10)
	if err != nil || len(parcels) != 1 {
		t.Fatalf("ClaimParcels = %d parcels, %v, want 1", len(parcels), err)
	}
	if diff := cmp.Diff(dead, parcels[0].Message); diff != "" {
		t.Errorf("parcel differs (-want +got):\n%s", diff)
	}
	mustMail(t, s, tenant, id(1))
}

func tenantsAreApart(t *testing.T, s *store.Store) {
	ours, theirs := bill(1, "INV-1"), bill(1, "INV-1")
	theirs.tenant = "other"
	f := &feed{s: s}
	theirEvent := theirs.event(mail.Accepted, 0, 0)
	theirEvent.ID = "their/" + theirEvent.ID
	f.take(t, ours.event(mail.Accepted, 0, 0), ours.event(mail.DeliveredTo, 1, time.Second), theirEvent)
	if m := mustMail(t, s, "other", id(1)); m.State != mail.Queued {
		t.Errorf("the other tenant's state = %v, want %v", m.State, mail.Queued)
	}
	for _, who := range []struct {
		tenant string
		events int
		mails  int
	}{{tenant, 2, 1}, {"other", 1, 1}, {"nobody", 0, 0}} {
		page, err := s.EventsAfter(t.Context(), who.tenant, store.EventFilter{}, 0, 10)
		if err != nil || len(page.Events) != who.events {
			t.Errorf("EventsAfter(%q) = %d events, %v, want %d", who.tenant, len(page.Events), err, who.events)
		}
		mails, err := s.Mails(t.Context(), who.tenant, store.Filter{InvoiceID: "INV-1", Limit: 10})
		if err != nil || len(mails) != who.mails {
			t.Errorf("Mails(%q) = %d mails, %v, want %d", who.tenant, len(mails), err, who.mails)
		}
		line, err := s.Timeline(t.Context(), who.tenant, id(1))
		if err != nil || len(line) != who.events {
			t.Errorf("Timeline(%q) = %d events, %v, want %d", who.tenant, len(line), err, who.events)
		}
	}
	if _, err := s.Invoice(t.Context(), "nobody", "INV-1"); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("Invoice(nobody) = %v, want %v", err, store.ErrUnknown)
	}
}

func mailsAreListed(t *testing.T, s *store.Store) {
	f := &feed{s: s}
	for n := 1; n <= 10; n++ {
		b := bill(n, fmt.Sprintf("INV-%d", n%2))
		if n > 5 {
			b.facts.Campaign, b.lane = "winter", "bulk"
		}
		f.take(t, b.event(mail.Accepted, 0, 0))
		if n%3 == 0 {
			f.take(t, b.event(mail.BouncedBack, 1, time.Second))
		}
	}
	for _, c := range []struct {
		name   string
		filter store.Filter
		want   []int
	}{
		{"all", store.Filter{}, []int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}},
		{"recipient", store.Filter{Recipient: "r4@example.test"}, []int{4}},
		{"invoice", store.Filter{InvoiceID: "INV-1"}, []int{9, 7, 5, 3, 1}},
		{"campaign", store.Filter{Campaign: "winter"}, []int{10, 9, 8, 7, 6}},
		{"lane", store.Filter{Lane: "billing"}, []int{5, 4, 3, 2, 1}},
		{"state", store.Filter{State: mail.Bounced}, []int{9, 6, 3}},
		{"from", store.Filter{From: Noon().Add(9 * time.Minute)}, []int{10, 9}},
		{"to", store.Filter{To: Noon().Add(3 * time.Minute)}, []int{2, 1}},
		{"together", store.Filter{State: mail.Bounced, Campaign: "winter", InvoiceID: "INV-1"}, []int{9}},
		{"nothing", store.Filter{Lane: "none"}, nil},
	} {
		for _, size := range []int{3, 100} {
			f := c.filter
			f.Limit = size
			var got []int
			for {
				page, err := s.Mails(t.Context(), tenant, f)
				if err != nil {
					t.Fatalf("%s: Mails = %v, want no error", c.name, err)
				}
				for _, m := range page {
					var n int
					_, _ = fmt.Sscanf(m.ID[24:], "%d", &n)
					got = append(got, n)
				}
				if len(page) < size {
					break
				}
				last := page[len(page)-1]
				f.AfterTime, f.AfterID = last.AcceptedAt, last.ID
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s by %d: Mails differ (-want +got):\n%s", c.name, size, diff)
			}
		}
	}
}

func eventsArePaged(t *testing.T, s *store.Store) {
	f := &feed{s: s}
	for n := 1; n <= 6; n++ {
		b := bill(n, "")
		if n%2 == 0 {
			b.facts.Campaign = "winter"
		}
		f.take(t, b.event(mail.Accepted, 0, 0), b.event(mail.DeliveredTo, 1, time.Second))
	}
	for _, c := range []struct {
		name   string
		filter store.EventFilter
		want   int
	}{
		{"all", store.EventFilter{}, 12},
		{"type", store.EventFilter{Types: []mail.Type{mail.DeliveredTo}}, 6},
		{"mail", store.EventFilter{MailIDs: []string{id(1), id(4)}}, 4},
		{"campaign", store.EventFilter{Campaign: "winter"}, 6},
		{"together", store.EventFilter{MailIDs: []string{id(1), id(4)}, Types: []mail.Type{mail.Accepted}, Campaign: "winter"}, 1},
	} {
		var at int64
		got := 0
		for range 100 {
			page, err := s.EventsAfter(t.Context(), tenant, c.filter, at, 4)
			if err != nil {
				t.Fatalf("%s: EventsAfter(%d) = %v, want no error", c.name, at, err)
			}
			for _, e := range page.Events {
				if e.Position <= at {
					t.Errorf("%s: EventsAfter(%d) gave position %d", c.name, at, e.Position)
				}
			}
			got += len(page.Events)
			if page.Next == at {
				break
			}
			at = page.Next
		}
		if head, err := s.Head(t.Context()); err != nil || at != head || got != c.want {
			t.Errorf("%s: %d events up to %d, want %d up to %d (%v)", c.name, got, at, c.want, head, err)
		}
	}
}

// concurrentWriters lets two replicas store the same partition at once.
func concurrentWriters(t *testing.T, s *store.Store) {
	const mails = 60
	b := bill(1, "INV-1")
	var records []store.Record
	for n := range mails {
		records = append(records, store.Record{
			Topic: topic, Offset: int64(n), Event: b.hit(fmt.Sprintf("hit-%d", n), mail.Opened, "", true, 0),
		})
	}
	var wg sync.WaitGroup
	stored := make([]int, 2)
	for w := range stored {
		wg.Go(func() {
			for i := 0; i < mails; i += 5 {
				part := slices.Clone(records[i : i+5])
				for j := range part {
					e := *part[j].Event
					part[j].Event = &e
				}
				res, err := s.Ingest(t.Context(), part, Noon(), nil)
				if err != nil {
					t.Errorf("Ingest = %v, want no error", err)
					return
				}
				for _, f := range res.Fates {
					if f == store.Stored {
						stored[w]++
					}
				}
			}
		})
	}
	wg.Wait()
	if got := stored[0] + stored[1]; got != mails {
		t.Errorf("stored %d events, want %d", got, mails)
	}
	if m := mustMail(t, s, tenant, b.mailID); m.Opens != mails {
		t.Errorf("opens = %d, want %d", m.Opens, mails)
	}
	inv, err := s.Invoice(t.Context(), tenant, "INV-1")
	if err != nil || inv.Opens != mails || inv.Mails != 1 {
		t.Errorf("Invoice = %d opens of %d mails, %v, want %d of 1", inv.Opens, inv.Mails, err, mails)
	}
}
