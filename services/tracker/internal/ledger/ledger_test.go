package ledger_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/services/tracker/internal/ledger"
	"kurir.dev/services/tracker/internal/mail"
)

// TestNext walks the full product of states and steps.
func TestNext(t *testing.T) {
	t.Parallel()
	for s := ledger.NoState; s <= ledger.Void; s++ {
		for typ := ledger.NoType; int(typ) < ledger.Types; typ++ {
			want := s
			if s == ledger.NoState {
				want = ledger.Open
			}
			switch {
			case typ == ledger.Paid:
				want = ledger.PaidUp
			case typ == ledger.Voided && s != ledger.PaidUp:
				want = ledger.Void
			case typ == ledger.Overdue && want == ledger.Open:
				want = ledger.PastDue
			}
			if got := ledger.Next(s, typ); got != want {
				t.Errorf("Next(%v, %v) = %v, want %v", s, typ, got, want)
			}
		}
	}
}

// TestDiagram compares docs/states.md with the table.
func TestDiagram(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../../docs/states.md")
	if err != nil {
		t.Fatalf("reading the diagram: %v", err)
	}
	part := regexp.MustCompile(`(?s)## Invoices.*`).Find(doc)
	var drawn, table []string
	for _, m := range regexp.MustCompile(`(?m)^\s+([A-Z]+) --> ([A-Z]+): (.+)$`).FindAllSubmatch(part, -1) {
		drawn = append(drawn, fmt.Sprintf("%s -%s-> %s", m[1], m[3], m[2]))
	}
	for s := ledger.Open; s <= ledger.Void; s++ {
		for typ := ledger.NoType; int(typ) < ledger.Types; typ++ {
			if to := ledger.Next(s, typ); to != s {
				table = append(table, fmt.Sprintf("%s -%s-> %s", s, typ, to))
			}
		}
	}
	slices.Sort(drawn)
	slices.Sort(table)
	if diff := cmp.Diff(table, drawn); diff != "" {
		t.Errorf("docs/states.md differs from the table (-table +drawn):\n%s", diff)
	}
}

func TestMailTellsSteps(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	hit := func(link string, human bool) *mail.Hit { return &mail.Hit{Link: link, Human: human} }
	for _, c := range []struct {
		name    string
		kind    mail.Kind
		event   mail.Event
		verdict mail.Verdict
		want    []ledger.Type
	}{
		{"bill accepted", mail.Bill, mail.Event{Type: mail.Accepted}, mail.Moves, nil},
		{"bill delivered", mail.Bill, mail.Event{Type: mail.DeliveredTo}, mail.Moves, []ledger.Type{ledger.Mailed}},
		{"reminder delivered", mail.Reminder, mail.Event{Type: mail.DeliveredTo}, mail.Moves, []ledger.Type{ledger.Reminded}},
		{"delivered a second time", mail.Bill, mail.Event{Type: mail.DeliveredTo}, mail.Late, nil},
		{"bounced", mail.Bill, mail.Event{Type: mail.BouncedBack}, mail.Moves, nil},
		{"opened", mail.Bill, mail.Event{Type: mail.Opened, Hit: hit("", true)}, mail.Stays, []ledger.Type{ledger.OpenedMail}},
		{"fetched by a machine", mail.Bill, mail.Event{Type: mail.Opened, Hit: hit("", false)}, mail.Stays, nil},
		{"pay link followed", mail.Bill, mail.Event{Type: mail.Clicked, Hit: hit("pay", true)}, mail.Stays, []ledger.Type{ledger.PayClicked}},
		{"pay link scanned", mail.Bill, mail.Event{Type: mail.Clicked, Hit: hit("pay", false)}, mail.Stays, nil},
		{"other link followed", mail.Bill, mail.Event{Type: mail.Clicked, Hit: hit("help", true)}, mail.Stays, nil},
	} {
		inv := ledger.Invoice{Tenant: "t", ID: "INV", State: ledger.Open}
		c.event.ID, c.event.At = "e", at
		var got []ledger.Type
		for _, e := range inv.Mail(mail.Mail{ID: "m", Facts: mail.Facts{Kind: c.kind}}, c.event, c.verdict, false) {
			got = append(got, e.Type)
			if e.MailID != "m" || e.Tenant != "t" || e.InvoiceID != "INV" || e.ID == "" || !e.At.Equal(at) {
				t.Errorf("%s: entry = %+v, want it to name mail, tenant, invoice and time", c.name, e)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: steps differ (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestBillOutweighsReminder(t *testing.T) {
	t.Parallel()
	inv := ledger.Invoice{State: ledger.Open}
	of := func(k mail.Kind, units int64) mail.Mail {
		return mail.Mail{Facts: mail.Facts{Kind: k, Amount: mail.Money{Currency: "IDR", Units: units}, DueOn: "2026-12-01"}}
	}
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	inv.Mail(of(mail.Reminder, 50), mail.Event{Type: mail.Accepted, At: at}, mail.Moves, true)
	inv.Mail(of(mail.Bill, 150), mail.Event{Type: mail.Accepted, At: at.Add(-time.Hour)}, mail.Moves, true)
	inv.Mail(of(mail.Reminder, 60), mail.Event{Type: mail.Accepted, At: at}, mail.Moves, true)
	if inv.Amount.Units != 150 || inv.Mails != 3 || !inv.FirstSeenAt.Equal(at.Add(-time.Hour)) {
		t.Errorf("invoice = %+v, want the bill's amount, 3 mails and the earliest time", inv)
	}
}

func TestReportAttributes(t *testing.T) {
	t.Parallel()
	ours, other := &ledger.Click{MailID: "a", InvoiceID: "INV"}, &ledger.Click{MailID: "b", InvoiceID: "OTHER"}
	last := &ledger.Click{MailID: "c", InvoiceID: "INV"}
	for _, c := range []struct {
		name      string
		ev        ledger.Evidence
		mail, how string
	}{
		{"named", ledger.Evidence{Named: ours, Last: last}, "a", ledger.ByClick},
		{"named of another invoice", ledger.Evidence{Named: other, Last: last}, "c", ledger.ByLastClick},
		{"last", ledger.Evidence{Last: last}, "c", ledger.ByLastClick},
		{"none", ledger.Evidence{}, "", ""},
	} {
		inv := ledger.Invoice{ID: "INV", State: ledger.PastDue}
		e := inv.Report(ledger.Entry{Type: ledger.Paid, At: time.Unix(1, 0)}, c.ev)
		if inv.State != ledger.PaidUp || inv.PaidBy != c.mail || inv.Attribution != c.how || e.MailID != c.mail {
			t.Errorf("%s: invoice = %+v, entry by %q, want PAID by %q (%s)", c.name, inv, e.MailID, c.mail, c.how)
		}
	}
}

func TestReportID(t *testing.T) {
	t.Parallel()
	ids := map[string]string{}
	for _, c := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"", "abc"}, {"abc", ""}} {
		id := ledger.ReportID(c[0], c[1])
		if was, ok := ids[id]; ok {
			t.Errorf("ReportID(%q, %q) = %q, which is %s's too", c[0], c[1], id, was)
		}
		ids[id] = fmt.Sprint(c)
	}
}
