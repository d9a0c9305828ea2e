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
	l.owe(key, journal.Outcome{Kind: journal.Delivered, Sequence: 1})
	l.forget(0)
	l.recall(0, key, journal.Settled{Kind: journal.Committing})
	if o, ok := l.debt(key); !ok || o.Kind != journal.Delivered {
		t.Errorf("debt = %v, %v, want what was decided, over the loss of the partition", o.Kind, ok)
	}
	l.recall(0, key, journal.Settled{Kind: journal.Delivered})
	if _, ok := l.debt(key); ok {
		t.Error("what is written is owed still")
	}
	for i := range ledgerSize + 10 {
		l.owe(journal.Key{MailID: strconv.Itoa(i)}, journal.Outcome{})
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

func TestBrokenTLSEnds(t *testing.T) {
	t.Parallel()
	b := brokenTLS{until: map[string]time.Time{}}
	now := time.Now()
	b.add("mx", now.Add(time.Minute))
	if !b.has("mx", now) || b.has("other", now) || b.has("mx", now.Add(time.Hour)) {
		t.Error("a broken host is remembered for its time and no longer")
	}
}
