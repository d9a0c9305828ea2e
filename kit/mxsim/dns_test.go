package mxsim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"kurir.dev/kit/mxsim"
)

func newDNS(t *testing.T) *mxsim.DNS {
	t.Helper()
	d, err := mxsim.NewDNS("")
	if err != nil {
		t.Fatalf("NewDNS: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return d
}

// ask puts one question over network and answers the reply.
func ask(t *testing.T, d *mxsim.DNS, network, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.AuthenticatedData = true
	r, _, err := (&dns.Client{Net: network}).ExchangeContext(t.Context(), m, d.Addr())
	if err != nil {
		t.Fatalf("asking %s %s over %s: %v", name, dns.TypeToString[qtype], network, err)
	}
	return r
}

func answers(m *dns.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		out = append(out, strings.Join(strings.Fields(rr.String()), " "))
	}
	slices.Sort(out)
	return out
}

func TestDNSAnswers(t *testing.T) {
	t.Parallel()
	d := newDNS(t)
	d.MX("Shop.test", "mx1.shop.test", "mx2.shop.test")
	d.Host("mx1.shop.test", "127.0.0.2", "::1")
	d.CNAME("alias.test", "shop.test")
	d.CNAME("loop.test", "loop.test")
	d.NullMX("null.test")
	d.TXT("txt.test", "v=STSv1; id=1")
	d.TLSA("_25._tcp.mx1.shop.test", 3, 1, 1, "ab")
	d.MX("*.wild.test", "mx1.shop.test")
	if err := d.Add("zone.test. 7 IN MX 5 mx.zone.test.", "mx.zone.test. IN A 127.0.0.9"); err != nil {
		t.Fatalf("Add: %v", err)
	}
	d.Fail("broken.test", dns.RcodeServerFailure)
	d.Fail("refused.test", dns.RcodeRefused)

	tests := []struct {
		name  string
		qtype uint16
		rcode int
		want  []string
	}{
		{"shop.test", dns.TypeMX, dns.RcodeSuccess, []string{"shop.test. 60 IN MX 10 mx1.shop.test.", "shop.test. 60 IN MX 20 mx2.shop.test."}},
		{"SHOP.test", dns.TypeA, dns.RcodeSuccess, nil},
		{"mx1.shop.test", dns.TypeA, dns.RcodeSuccess, []string{"mx1.shop.test. 60 IN A 127.0.0.2"}},
		{"mx1.shop.test", dns.TypeAAAA, dns.RcodeSuccess, []string{"mx1.shop.test. 60 IN AAAA ::1"}},
		{"alias.test", dns.TypeMX, dns.RcodeSuccess, []string{"alias.test. 60 IN CNAME shop.test.", "shop.test. 60 IN MX 10 mx1.shop.test.", "shop.test. 60 IN MX 20 mx2.shop.test."}},
		{"alias.test", dns.TypeCNAME, dns.RcodeSuccess, []string{"alias.test. 60 IN CNAME shop.test."}},
		{"loop.test", dns.TypeA, dns.RcodeServerFailure, nil},
		{"null.test", dns.TypeMX, dns.RcodeSuccess, []string{"null.test. 60 IN MX 0 ."}},
		{"txt.test", dns.TypeTXT, dns.RcodeSuccess, []string{`txt.test. 60 IN TXT "v=STSv1; id=1"`}},
		{"_25._tcp.mx1.shop.test", dns.TypeTLSA, dns.RcodeSuccess, []string{"_25._tcp.mx1.shop.test. 60 IN TLSA 3 1 1 ab"}},
		{"any.wild.test", dns.TypeMX, dns.RcodeSuccess, []string{"any.wild.test. 60 IN MX 10 mx1.shop.test."}},
		{"zone.test", dns.TypeMX, dns.RcodeSuccess, []string{"zone.test. 7 IN MX 5 mx.zone.test."}},
		{"mx.zone.test", dns.TypeA, dns.RcodeSuccess, []string{"mx.zone.test. 60 IN A 127.0.0.9"}},
		{"nowhere.test", dns.TypeMX, dns.RcodeNameError, nil},
		{"broken.test", dns.TypeMX, dns.RcodeServerFailure, nil},
		{"refused.test", dns.TypeMX, dns.RcodeRefused, nil},
	}
	for _, tt := range tests {
		for _, network := range []string{"udp", "tcp"} {
			r := ask(t, d, network, tt.name, tt.qtype)
			if got := answers(r); r.Rcode != tt.rcode || !slices.Equal(got, tt.want) {
				t.Errorf("%s %s over %s = %s %q, want %s %q", tt.name, dns.TypeToString[tt.qtype], network,
					dns.RcodeToString[r.Rcode], got, dns.RcodeToString[tt.rcode], tt.want)
			}
			if negative := r.Rcode == dns.RcodeNameError || r.Rcode == dns.RcodeSuccess && len(r.Answer) == 0; negative != (len(r.Ns) == 1) {
				t.Errorf("%s %s: %d SOAs in a reply that is negative: %v", tt.name, dns.TypeToString[tt.qtype], len(r.Ns), negative)
			}
		}
	}
	if got := d.Queries("shop.TEST.", dns.TypeMX); got != 2 {
		t.Errorf("Queries(shop.test, MX) = %d, want 2", got)
	}
}

func TestDNSChanges(t *testing.T) {
	t.Parallel()
	d := newDNS(t)
	d.Host("mx.test", "127.0.0.2")
	d.Fail("mx.test", dns.RcodeServerFailure)
	if r := ask(t, d, "udp", "mx.test", dns.TypeA); r.Rcode != dns.RcodeServerFailure {
		t.Errorf("rcode = %s, want SERVFAIL", dns.RcodeToString[r.Rcode])
	}
	d.Fail("mx.test", dns.RcodeSuccess)
	d.SetTTL(5 * time.Second)
	d.Host("mx.test", "127.0.0.3")
	d.Sign("mx.test")
	r := ask(t, d, "udp", "mx.test", dns.TypeA)
	want := []string{"mx.test. 5 IN A 127.0.0.3", "mx.test. 60 IN A 127.0.0.2"}
	if got := answers(r); !slices.Equal(got, want) || !r.AuthenticatedData {
		t.Errorf("answers = %q, AD %v, want %q, AD true", got, r.AuthenticatedData, want)
	}
	d.Remove("mx.test")
	if r := ask(t, d, "udp", "mx.test", dns.TypeA); r.Rcode != dns.RcodeNameError || r.AuthenticatedData {
		t.Errorf("rcode = %s, AD %v, want NXDOMAIN without AD", dns.RcodeToString[r.Rcode], r.AuthenticatedData)
	}
	if err := d.Add("not a record"); err == nil {
		t.Error("Add(nonsense) = nil, want an error")
	}
}

func TestDNSHangs(t *testing.T) {
	t.Parallel()
	d := newDNS(t)
	d.Host("slow.test", "127.0.0.2")
	d.Hang("slow.test", true)
	m := new(dns.Msg).SetQuestion("slow.test.", dns.TypeA)
	if r, _, err := (&dns.Client{Timeout: 50 * time.Millisecond}).ExchangeContext(t.Context(), m, d.Addr()); err == nil {
		t.Errorf("a name that hangs answered %v", r)
	}
	if got := d.Queries("slow.test", dns.TypeA); got != 1 {
		t.Errorf("Queries = %d, want 1", got)
	}
	d.Hang("slow.test", false)
	if r := ask(t, d, "udp", "slow.test", dns.TypeA); len(r.Answer) != 1 {
		t.Errorf("answers = %v, want one", r.Answer)
	}
}

func TestDNSTruncates(t *testing.T) {
	t.Parallel()
	d := newDNS(t)
	for i := range 60 {
		d.MXAt("big.test", 10, fmt.Sprintf("a-rather-long-mail-host-name-%d.big.test", i))
	}
	if r := ask(t, d, "udp", "big.test", dns.TypeMX); !r.Truncated {
		t.Error("60 MX over UDP came without TC")
	}
	if r := ask(t, d, "tcp", "big.test", dns.TypeMX); r.Truncated || len(r.Answer) != 60 {
		t.Errorf("over TCP %d answers, TC %v, want 60 without TC", len(r.Answer), r.Truncated)
	}
}

func TestDNSPortTaken(t *testing.T) {
	t.Parallel()
	d := newDNS(t)
	if other, err := mxsim.NewDNS(d.Addr()); err == nil {
		t.Errorf("NewDNS on a taken port = %v, want an error", other.Close())
	}
}
