package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/services/tracker/internal/ledger"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
)

func reportCounts(t *testing.T, s *store.Store) {
	f := &feed{s: s}
	for n := 1; n <= 5; n++ {
		b := bill(n, "INV")
		if n > 3 {
			b.facts.Template, b.facts.Domain = "other", "two.test"
		}
		f.take(t, b.event(mail.Accepted, 0, 0))
		if n == 5 {
			f.take(t, b.event(mail.BouncedBack, 1, time.Second))
			continue
		}
		f.take(t, b.event(mail.DeliveredTo, 1, time.Duration(n)*time.Second))
	}
	b := bill(1, "INV")
	f.take(t, b.hit("o1", mail.Opened, "", true, time.Minute), b.hit("o2", mail.Opened, "", true, time.Minute),
		b.hit("c1", mail.Clicked, "pay", true, time.Minute))
	mustReport(t, s, report(ledger.Paid, "k", "INV", b.start.Add(time.Hour)))
	one := store.Count{Key: "bill 1", Accepted: 3, Delivered: 3, Opened: 1, Clicked: 1, Paid: 1, DeliveryP50: 2 * time.Second}
	two := store.Count{Key: "other 1", Accepted: 2, Delivered: 1, Bounced: 1, DeliveryP50: 4 * time.Second}
	whole := store.Count{Accepted: 5, Delivered: 4, Bounced: 1, Opened: 1, Clicked: 1, Paid: 1, DeliveryP50: 2 * time.Second}
	keyed := func(c store.Count, key string) store.Count { c.Key = key; return c }
	for _, c := range []struct {
		by       store.GroupBy
		from, to time.Time
		want     []store.Count
	}{
		{store.ByAll, time.Time{}, time.Time{}, []store.Count{whole}},
		{store.ByTemplate, time.Time{}, time.Time{}, []store.Count{one, two}},
		{store.ByDomain, time.Time{}, time.Time{}, []store.Count{keyed(one, "example.test"), keyed(two, "two.test")}},
		{store.ByCampaign, time.Time{}, time.Time{}, []store.Count{whole}},
		{store.ByTemplate, Noon().Add(4 * time.Minute), Noon().Add(time.Hour), []store.Count{two}},
		{store.ByStep, Noon().Add(time.Hour), time.Time{}, nil},
	} {
		got, err := s.Counts(t.Context(), tenant, c.by, c.from, c.to)
		if err != nil {
			t.Fatalf("Counts(%v) = %v, want no error", c.by, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("Counts(%v, %v, %v) differ (-want +got):\n%s", c.by, c.from, c.to, diff)
		}
	}
}
