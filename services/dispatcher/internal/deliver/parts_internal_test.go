package deliver

import (
	"strconv"
	"testing"
	"time"

	"kurir.dev/services/dispatcher/internal/dns"
	"kurir.dev/services/dispatcher/internal/journal"
	"kurir.dev/services/dispatcher/internal/route"
)

func TestSiteName(t *testing.T) {
	t.Parallel()
	hosts := func(names ...string) []dns.Host {
		var out []dns.Host
		for _, n := range names {
			out = append(out, dns.Host{Name: n})
		}
		return out
	}
	for _, tt := range []struct {
		hosts []dns.Host
		want  string
	}{
		{hosts("mx.example.org"), "mx.example.org"},
		{hosts("b.example.org", "a.example.org"), "(a|b).example.org"},
		{hosts("a.example.org", "b.example.org"), "(a|b).example.org"},
		{hosts("a.example.org", "b.example.com"), "a.example.org,b.example.com"},
		{hosts("aspmx.l.google.com", "alt1.aspmx.l.google.com"), "google.com"},
		{hosts("contoso-com.mail.protection.outlook.com"), "outlook.com"},
		{hosts("localhost"), "localhost"},
	} {
		if got := siteName(tt.hosts); got != tt.want {
			t.Errorf("siteName(%v) = %q, want %q", tt.hosts, got, tt.want)
		}
	}
}

func TestPlanGroups(t *testing.T) {
	t.Parallel()
	j := &job{rule: route.Rule{Type: route.MX}, hosts: []dns.Host{{Name: "a", Preference: 10}, {Name: "b", Preference: 10}, {Name: "c", Preference: 20}}}
	first := map[string]bool{}
	for range 100 {
		p := newPlan(j)
		group := p.group()
		if len(group) != 2 {
			t.Fatalf("group %v, want the two equals", group)
		}
		first[group[0].Name] = true
		p.spent("a")
		p.spent("b")
		if group := p.group(); len(group) != 1 || group[0].Name != "c" {
			t.Fatalf("group %v, want c", group)
		}
		p.spent("c")
		if len(p.group()) != 0 {
			t.Fatal("hosts left of a plan all spent")
		}
	}
	if !first["a"] || !first["b"] {
		t.Errorf("equals always come in one order: %v", first)
	}
	if j.hosts[0].Name != "a" || j.hosts[2].Name != "c" {
		t.Errorf("the plan changed the job's hosts: %v", j.hosts)
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	l := newLedger[*int]()
	key := journal.Key{MailID: "m", Attempt: 1}
	never := func(*int) bool { return false }
	first, second := new(int), new(int)
	if _, fresh := l.begin(0, key, first, never); !fresh {
		t.Error("a new record is not fresh")
	}
	met := false
	if _, fresh := l.begin(0, key, second, func(j *int) bool { met = j == first; return true }); fresh || !met {
		t.Error("a record under way was not joined")
	}
	if _, fresh := l.begin(0, key, second, never); !fresh {
		t.Error("a leftover was not replaced")
	}
	l.end(key, first, func() {}) // must not end the second
	if _, fresh := l.begin(0, key, first, func(j *int) bool { return j == second }); fresh {
		t.Error("the leftover's end took the new job out of flight")
	}
	l.end(key, second, func() {})
	l.recall(0, key, journal.Settled{Kind: journal.Committing})
	if known, fresh := l.begin(0, key, first, never); !fresh || known.Kind != journal.Committing {
		t.Errorf("begin = %v, %v, want fresh and committing", known, fresh)
	}
	l.end(key, first, func() {})
	l.recall(0, key, journal.Settled{Kind: journal.Delivered, Offset: 9})
	l.recall(0, key, journal.Settled{Kind: journal.Attempted}) // late news changes nothing
	if known, fresh := l.begin(0, key, first, never); fresh || known.Offset != 9 {
		t.Errorf("begin = %v, %v, want settled at 9", known, fresh)
	}
	if _, fresh := l.begin(1, key, first, never); !fresh {
		t.Error("another partition knows of it")
	}
	l.end(key, first, func() {})
	l.forget(0)
	if _, fresh := l.begin(0, key, first, never); !fresh {
		t.Error("a forgotten partition is remembered")
	}
	l.owe(key, journal.Outcome{Kind: journal.Delivered, Sequence: 1}, -1)
	l.forget(0)
	l.recall(0, key, journal.Settled{Kind: journal.Committing})
	if d, ok := l.debt(key); !ok || d.outcome.Kind != journal.Delivered {
		t.Errorf("debt = %v, %v, want what was decided, over the loss of the partition", d.outcome.Kind, ok)
	}
	l.recall(0, key, journal.Settled{Kind: journal.Delivered})
	if _, ok := l.debt(key); ok {
		t.Error("what is written is owed still")
	}
	for i := range ledgerSize + 10 {
		l.owe(journal.Key{MailID: strconv.Itoa(i)}, journal.Outcome{}, -1)
	}
	if n := len(l.owed); n != ledgerSize {
		t.Errorf("%d outcomes owed, want %d", n, ledgerSize)
	}
	for i := range ledgerSize + 10 {
		l.recall(2, journal.Key{MailID: strconv.Itoa(i)}, journal.Settled{Kind: journal.Delivered})
	}
	if n := l.settled[2].order.Len(); n != ledgerSize || len(l.settled[2].entries) != n {
		t.Errorf("%d outcomes kept, want %d", n, ledgerSize)
	}
}

// Whoever was not at the dot cannot speak for who was.
func TestDebtAgainstACommittingNote(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		debt  debt
		known journal.Settled
		want  bool
	}{
		{"nothing known", debt{journal.Outcome{Kind: journal.Deferred}, -1}, journal.Settled{}, true},
		{"own note", debt{journal.Outcome{Kind: journal.Deferred}, 7}, journal.Settled{Kind: journal.Committing, Offset: 7}, true},
		{"note of another", debt{journal.Outcome{Kind: journal.Deferred}, -1}, journal.Settled{Kind: journal.Committing, Offset: 7}, false},
		{"later note of another", debt{journal.Outcome{Kind: journal.Attempted}, 5}, journal.Settled{Kind: journal.Committing, Offset: 7}, false},
		{"delivered", debt{journal.Outcome{Kind: journal.Delivered}, -1}, journal.Settled{Kind: journal.Committing, Offset: 7}, true},
	} {
		if got := tt.debt.counts(tt.known); got != tt.want {
			t.Errorf("%s: counts() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// What has not ended is not forgotten for what has.
func TestLedgerKeepsWhatIsOpen(t *testing.T) {
	t.Parallel()
	l := newLedger[*int]()
	open := journal.Key{MailID: "open", Attempt: 1}
	l.recall(0, open, journal.Settled{Kind: journal.Committing})
	for i := range 2 * ledgerSize {
		l.recall(0, journal.Key{MailID: strconv.Itoa(i)}, journal.Settled{Kind: journal.Delivered})
	}
	if known, fresh := l.begin(0, open, new(int), func(*int) bool { return false }); !fresh || known.Kind != journal.Committing {
		t.Errorf("begin = %v, %v after %d outcomes, want fresh and committing", known.Kind, fresh, 2*ledgerSize)
	}
	if n := l.settled[0].order.Len(); n != ledgerSize {
		t.Errorf("%d outcomes kept, want %d", n, ledgerSize)
	}
}

func TestBrokenTLSEnds(t *testing.T) {
	t.Parallel()
	b := brokenTLS{until: map[string]time.Time{}}
	now := time.Now()
	b.add("mx", now.Add(time.Minute))
	if !b.has("mx", now) || b.has("other", now) || b.has("mx", now.Add(time.Hour)) {
		t.Error("a broken host is remembered for its time and no longer")
	}
}
