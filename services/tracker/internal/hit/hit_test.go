package hit_test

import (
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"testing"
	"time"

	"kurir.dev/services/tracker/internal/hit"
)

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"

func TestClassify(t *testing.T) {
	t.Parallel()
	delivered := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	later := delivered.Add(time.Hour)
	for _, c := range []struct {
		name   string
		r      hit.Request
		class  hit.Class
		reason string
	}{
		{"a browser", hit.Request{UserAgent: firefox, At: later, DeliveredAt: delivered}, hit.Human, hit.Browser},
		{"delivery not known", hit.Request{UserAgent: firefox, At: delivered}, hit.Human, hit.Browser},
		{"a mail program", hit.Request{UserAgent: "Thunderbird/128.0", At: later}, hit.Human, hit.Browser},
		{"headers only", hit.Request{Method: http.MethodHead, UserAgent: firefox, At: later}, hit.Machine, hit.Head},
		{"prefetch", hit.Request{UserAgent: firefox, Purpose: "prefetch;prerender", At: later}, hit.Machine, hit.Prefetch},
		{"no agent", hit.Request{At: later}, hit.Machine, hit.NoAgent},
		{"Gmail", hit.Request{UserAgent: "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", At: later}, hit.Machine, "google_image_proxy"},
		{"Yahoo", hit.Request{UserAgent: "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", At: later}, hit.Machine, "yahoo_image_proxy"},
		{"Apple", hit.Request{UserAgent: "Mozilla/5.0", At: later}, hit.Machine, hit.Privacy},
		{"a scanner", hit.Request{UserAgent: "Mozilla/5.0 (compatible; BarracudaCentral)", At: later}, hit.Machine, "scanner"},
		{"a preview", hit.Request{UserAgent: "WhatsApp/2.23", At: later}, hit.Machine, "link_preview"},
		{"a tool", hit.Request{UserAgent: "curl/8.5.0", At: later}, hit.Machine, "tool"},
		{"nothing known", hit.Request{UserAgent: "Fetcher", At: later}, hit.Machine, hit.NoBrowser},
		{"too fast", hit.Request{UserAgent: firefox, At: delivered.Add(time.Second), DeliveredAt: delivered}, hit.Machine, hit.TooFast},
		{"clocks a little apart", hit.Request{UserAgent: firefox, At: delivered.Add(-time.Second), DeliveredAt: delivered}, hit.Machine, hit.TooFast},
		{"before delivery", hit.Request{UserAgent: firefox, At: delivered.Add(-time.Hour), DeliveredAt: delivered}, hit.Machine, hit.Early},
	} {
		if got := hit.Classify(c.r, 2*time.Second); got.Class != c.class || got.Reason != c.reason {
			t.Errorf("%s: Classify(%q) = %v %q, want %v %q", c.name, c.r.UserAgent, got.Class, got.Reason, c.class, c.reason)
		}
	}
	if got := hit.Classify(hit.Request{UserAgent: firefox, At: delivered, DeliveredAt: delivered}, 0); got.Class != hit.Human {
		t.Errorf("Classify(at once, 0) = %v, want %v", got, hit.Human)
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"203.0.113.77":        "203.0.113.0/24",
		"::ffff:203.0.113.77": "203.0.113.0/24",
		"2001:db8:1:2::3":     "2001:db8:1::/48",
		"fe80::1%eth0":        "fe80::/48",
	} {
		if got := hit.Network(netip.MustParseAddr(in)); got != want {
			t.Errorf("Network(%q) = %q, want %q", in, got, want)
		}
	}
	if got := hit.Network(netip.Addr{}); got != "" {
		t.Errorf("Network(invalid) = %q, want none", got)
	}
}

func TestNewID(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	var ids []string
	for n := range 100 {
		id := hit.NewID(at.Add(time.Duration(n) * time.Millisecond))
		if !form.MatchString(id) {
			t.Errorf("NewID() = %q, want a UUIDv7", id)
		}
		ids = append(ids, id)
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 100 {
		t.Error("NewID() does not sort by time, or repeats")
	}
}

func FuzzClassify(f *testing.F) {
	f.Add("GET", firefox, "", int64(0))
	f.Add("HEAD", "\xff\x00", "prefetch", int64(-1))
	f.Fuzz(func(t *testing.T, method, agent, purpose string, ns int64) {
		got := hit.Classify(hit.Request{Method: method, UserAgent: agent, Purpose: purpose, At: time.Unix(0, ns), DeliveredAt: time.Unix(1, 0)}, time.Second)
		if (got.Class != hit.Human && got.Class != hit.Machine) || got.Reason == "" || (got.Class == hit.Human) != (got.Reason == hit.Browser) {
			t.Errorf("Classify(%q, %q, %q) = %v, want a class with its reason", method, agent, purpose, got)
		}
	})
}
