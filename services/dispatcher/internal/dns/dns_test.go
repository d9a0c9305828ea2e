package dns_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"

	"kurir.dev/services/dispatcher/internal/dns"
)

// zone is a name server over UDP and TCP that counts its questions.
type zone struct {
	mu      sync.Mutex
	records map[string][]string
	rcodes  map[string]int
	big     map[string]bool // cut short over UDP
	hang    map[string]chan struct{}
	asked   atomic.Int64
	tcp     atomic.Int64
	addr    string
}

func (z *zone) ServeDNS(w mdns.ResponseWriter, q *mdns.Msg) {
	z.asked.Add(1)
	name := q.Question[0].Name
	z.mu.Lock()
	wait := z.hang[name]
	z.mu.Unlock()
	if wait != nil {
		<-wait
	}
	m := new(mdns.Msg)
	m.SetReply(q)
	z.mu.Lock()
	defer z.mu.Unlock()
	_, overTCP := w.RemoteAddr().(*net.TCPAddr)
	if overTCP {
		z.tcp.Add(1)
	}
	if z.big[name] && !overTCP {
		m.Truncated = true
	} else {
		m.Rcode = z.rcodes[name]
		for _, text := range z.records[name] {
			rr, err := mdns.NewRR(text)
			if err != nil {
				panic(err)
			}
			if rr.Header().Rrtype == q.Question[0].Qtype || rr.Header().Rrtype == mdns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
			if rr.Header().Rrtype == mdns.TypeSOA {
				m.Ns = append(m.Ns, rr)
			}
		}
	}
	_ = w.WriteMsg(m)
}

func serve(t *testing.T, z *zone) *zone {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	z.addr = conn.LocalAddr().String()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	for _, s := range []*mdns.Server{{PacketConn: conn, Handler: z}, {Listener: listener, Handler: z}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		wg.Go(func() { _ = s.ActivateAndServe() })
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return z
}

func resolver(t *testing.T, z *zone, now func() time.Time) *dns.Resolver {
	t.Helper()
	cfg := dns.Default()
	cfg.Servers, cfg.Timeout, cfg.Attempts = []string{z.addr}, 2*time.Second, 1
	r, err := dns.New(cfg, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func testZone() *zone {
	return &zone{
		records: map[string][]string{
			"two.test.":      {"two.test. 60 IN MX 20 b.test.", "two.test. 60 IN MX 10 A.test."},
			"implicit.test.": {"implicit.test. 60 IN A 192.0.2.7"},
			"null.test.":     {"null.test. 60 IN MX 0 ."},
			"alias.test.":    {"alias.test. 60 IN CNAME two.test."},
			"loop.test.":     {"loop.test. 60 IN MX 10 self.test."},
			"backup.test.":   {"backup.test. 60 IN MX 10 b.test.", "backup.test. 60 IN MX 20 self.test.", "backup.test. 60 IN MX 20 c.test.", "backup.test. 60 IN MX 30 d.test."},
			"cycle.test.":    {"cycle.test. 60 IN CNAME cycle2.test."},
			"cycle2.test.":   {"cycle2.test. 60 IN CNAME cycle.test."},
			"big.test.":      {"big.test. 60 IN MX 10 b.test."},
			"both.test.":     {"both.test. 60 IN A 192.0.2.1", "both.test. 60 IN A 192.0.2.2", "both.test. 60 IN AAAA 2001:db8::1"},
			"empty.test.":    {"test. 60 IN SOA ns.test. root.test. 1 2 3 4 30"},
			"gone.test.":     {"test. 60 IN SOA ns.test. root.test. 1 2 3 4 30"},
		},
		rcodes: map[string]int{"gone.test.": mdns.RcodeNameError, "fail.test.": mdns.RcodeServerFailure, "refused.test.": mdns.RcodeRefused},
		big:    map[string]bool{"big.test.": true},
		hang:   map[string]chan struct{}{},
	}
}

func TestMX(t *testing.T) {
	t.Parallel()
	r := resolver(t, serve(t, testZone()), nil)
	own := []string{"self.test"}
	for name, want := range map[string][]dns.Host{
		"two.test":      {{Name: "a.test", Preference: 10}, {Name: "b.test", Preference: 20}},
		"TWO.test.":     {{Name: "a.test", Preference: 10}, {Name: "b.test", Preference: 20}},
		"alias.test":    {{Name: "a.test", Preference: 10}, {Name: "b.test", Preference: 20}},
		"implicit.test": {{Name: "implicit.test"}},
		"empty.test":    {{Name: "empty.test"}},
		"backup.test":   {{Name: "b.test", Preference: 10}},
		"big.test":      {{Name: "b.test", Preference: 10}},
	} {
		got, err := r.MX(t.Context(), name, own)
		if err != nil {
			t.Errorf("MX(%q): %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("MX(%q) differs (-want +got):\n%s", name, diff)
		}
	}
	for name, want := range map[string]dns.Problem{
		"gone.test": dns.NoDomain, "null.test": dns.NullMX, "loop.test": dns.Loop,
		"fail.test": dns.Temporary, "refused.test": dns.Temporary, "cycle.test": dns.Temporary,
	} {
		hosts, err := r.MX(t.Context(), name, own)
		var problem *dns.Error
		if !errors.As(err, &problem) || problem.Problem != want {
			t.Errorf("MX(%q) = %v, %v, want problem %d", name, hosts, err, want)
		}
	}
}

func TestAddrs(t *testing.T) {
	t.Parallel()
	r := resolver(t, serve(t, testZone()), nil)
	got, err := r.Addrs(t.Context(), "both.test")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"2001:db8::1", "192.0.2.1", "192.0.2.2"}
	for i, a := range got {
		if a != netip.MustParseAddr(want[i]) {
			t.Errorf("Addrs = %v, want %v", got, want)
		}
	}
	var problem *dns.Error
	if _, err := r.Addrs(t.Context(), "empty.test"); !errors.As(err, &problem) || problem.Problem != dns.NoHost {
		t.Errorf("Addrs of a name without address = %v, want NoHost", err)
	}
	if got, err := r.Addrs(t.Context(), "[192.0.2.9]"); err != nil || got[0] != netip.MustParseAddr("192.0.2.9") {
		t.Errorf("Addrs of a literal = %v, %v", got, err)
	}
}

func TestCacheKeepsTTL(t *testing.T) {
	t.Parallel()
	z := serve(t, testZone())
	var clock atomic.Int64
	r := resolver(t, z, func() time.Time { return time.Unix(clock.Load(), 0) })
	ask := func(name string, at int64, want int64) {
		t.Helper()
		clock.Store(at)
		_, _ = r.MX(t.Context(), name, nil)
		if got := z.asked.Load(); got != want {
			t.Errorf("MX(%q) at %d s: %d questions so far, want %d", name, at, got, want)
		}
	}
	ask("two.test", 1000, 1)
	ask("two.test", 1059, 1)
	ask("two.test", 1061, 2)
	// Absences are kept for the SOA's minimum (RFC 2308).
	ask("gone.test", 2000, 3)
	ask("gone.test", 2029, 3)
	ask("gone.test", 2031, 4)
	ask("fail.test", 3000, 5)
	ask("fail.test", 3000, 5)
	ask("fail.test", 3002, 6)
}

func TestConcurrentCallersShareOneQuery(t *testing.T) {
	t.Parallel()
	z := testZone()
	release := make(chan struct{})
	z.hang["two.test."] = release
	r := resolver(t, serve(t, z), nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := r.MX(t.Context(), "two.test", nil); err != nil {
				t.Errorf("MX: %v", err)
			}
		})
	}
	close(release)
	wg.Wait()
	if got := z.asked.Load(); got != 1 {
		t.Errorf("20 callers asked %d times, want 1", got)
	}
}

func TestTimeoutIsTemporary(t *testing.T) {
	t.Parallel()
	z := testZone()
	release := make(chan struct{})
	defer close(release)
	z.hang["two.test."] = release
	r := resolver(t, serve(t, z), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var problem *dns.Error
	if _, err := r.MX(ctx, "two.test", nil); !errors.As(err, &problem) || problem.Problem != dns.Temporary {
		t.Errorf("MX of a silent server = %v, want Temporary", err)
	}
}
