package route_test

import (
	"strings"
	"testing"

	"kurir.dev/services/dispatcher/internal/route"
)

func table(t *testing.T, rules ...route.Rule) *route.Table {
	t.Helper()
	tb, err := route.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func TestLookup(t *testing.T) {
	t.Parallel()
	tb := table(t,
		route.Rule{Name: "box", Match: route.Match{Domain: "Box.example"}, Type: route.LMTP, Hosts: []string{"unix:/run/lmtp"}},
		route.Rule{Name: "relay", Match: route.Match{Tenant: "acme", Lane: "bulk"}, Type: route.SmartHost, Hosts: []string{"relay.example:587"}},
		route.Rule{Match: route.Match{Domain: "*.example.org"}, Type: route.MX},
	)
	for _, tt := range []struct{ domain, tenant, lane, want string }{
		{"box.example", "acme", "bulk", "box"},
		{"example.com", "acme", "bulk", "relay"},
		{"example.com", "acme", "otp", "sandbox"},
		{"mail.example.org", "other", "bulk", "mx"},
		{"example.org", "other", "bulk", "sandbox"},
	} {
		if got := tb.Lookup(tt.domain, tt.tenant, tt.lane).Name; got != tt.want {
			t.Errorf("Lookup(%q, %q, %q) = %s, want %s", tt.domain, tt.tenant, tt.lane, got, tt.want)
		}
	}
	if !tb.Uses(route.Sandbox) || !tb.Uses(route.MX) {
		t.Error("the table leads to the sandbox and to MX")
	}
	if table(t, route.Rule{Type: route.MX}).Uses(route.Sandbox) {
		t.Error("behind a rule for all mail nothing leads to the sandbox")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for want, rule := range map[string]route.Rule{
		"is none of mx":      {Type: "carrier-pigeon"},
		"at least one":       {Type: route.SmartHost},
		"is no host:port":    {Type: route.LMTP, Hosts: []string{"box"}},
		"takes neither":      {Type: route.MX, Hosts: []string{"a:1"}},
		"is no pattern":      {Type: route.MX, Match: route.Match{Domain: "["}},
		"password without":   {Type: route.SmartHost, Hosts: []string{"a:1"}, Password: "x"},
		"is none of require": {Type: route.SmartHost, Hosts: []string{"a:1"}, TLS: "maybe"},
		"is below 0":         {Type: route.MX, Connections: -1},
	} {
		if _, err := route.New([]route.Rule{rule}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "routes[0]") {
			t.Errorf("New(%+v) = %v, want it to say %q", rule, err, want)
		}
	}
}

func FuzzLookup(f *testing.F) {
	f.Add("*.example.org", "mail.example.org")
	f.Add("[", "x")
	f.Fuzz(func(t *testing.T, pattern, domain string) {
		tb, err := route.New([]route.Rule{{Match: route.Match{Domain: pattern}, Type: route.MX}})
		if err != nil {
			return
		}
		if got := tb.Lookup(domain, "t", "l").Type; got != route.MX && got != route.Sandbox {
			t.Errorf("Lookup(%q) under %q = %s", domain, pattern, got)
		}
	})
}
