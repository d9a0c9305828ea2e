// Package dns finds the hosts that take a domain's mail. It is a stub
// resolver of its own over miekg/dns: it asks the configured servers over UDP
// and, when an answer is cut short, over TCP (RFC 7766), keeps answers no
// longer than their TTL, absences no longer than RFC 2308 allows, and lets
// concurrent callers of one question share one query.
//
// The steps of [Resolver.MX] (RFC 5321 §5.1):
//
//  1. The domain's MX records, CNAMEs followed.
//  2. None: the domain itself is its host (implicit MX).
//  3. A lone "." takes no mail (null MX, RFC 7505).
//  4. This host among them: only hosts of a better preference stay; none
//     left is a loop.
//
// What could not be learnt is [Temporary] and must defer; only answers that
// say so are permanent. All methods are safe for concurrent use.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// Config says whom to ask and how patiently.
type Config struct {
	// Servers are asked in order, as host or host:port; empty reads
	// /etc/resolv.conf.
	Servers []string `yaml:"servers"`
	// Timeout bounds one query to one server.
	Timeout time.Duration `yaml:"timeout"`
	// Attempts is how often the whole list is tried.
	Attempts int `yaml:"attempts"`
	// CacheSize bounds the number of cached answers.
	CacheSize int `yaml:"cache_size"`
	// MaxTTL caps how long an answer is kept, whatever its TTL.
	MaxTTL time.Duration `yaml:"max_ttl"`
	// IPv6 is whether AAAA records are looked up and tried.
	IPv6 bool `yaml:"ipv6"`
}

// Default asks the system's servers, three seconds each, twice.
func Default() Config {
	return Config{Timeout: 3 * time.Second, Attempts: 2, CacheSize: 20000, MaxTTL: time.Hour, IPv6: true}
}

// Validate reports every fault, joined.
func (c Config) Validate() error {
	var faults []error
	if c.Timeout <= 0 {
		faults = append(faults, fmt.Errorf("dns.timeout %s is not above 0", c.Timeout))
	}
	if c.Attempts < 1 {
		faults = append(faults, fmt.Errorf("dns.attempts %d is below 1", c.Attempts))
	}
	if c.CacheSize < 1 {
		faults = append(faults, fmt.Errorf("dns.cache_size %d is below 1", c.CacheSize))
	}
	if c.MaxTTL <= 0 {
		faults = append(faults, fmt.Errorf("dns.max_ttl %s is not above 0", c.MaxTTL))
	}
	return errors.Join(faults...)
}

// Problem is why a lookup gave nothing.
type Problem int

// The problems. Only Temporary may be different next time.
const (
	// Temporary: no usable answer (timeout, SERVFAIL, REFUSED).
	Temporary Problem = iota
	// NoDomain: NXDOMAIN.
	NoDomain
	// NullMX: the domain says it takes no mail (RFC 7505).
	NullMX
	// NoHost: the domain exists and has neither MX nor address.
	NoHost
	// Loop: this host is the best of the domain's hosts.
	Loop
)

// Error is a lookup that gave nothing.
type Error struct {
	Problem Problem
	// Name is what was looked up.
	Name string
	// Why is in words.
	Why string
}

// Error says what was looked up and why there is nothing.
func (e *Error) Error() string { return fmt.Sprintf("looking up %s: %s", e.Name, e.Why) }

// Host is one host that takes a domain's mail.
type Host struct {
	// Name is lower case, without the final dot.
	Name string
	// Preference orders hosts, lower first; 0 for an implicit MX.
	Preference uint16
}

// MX finds the hosts of a domain (an A-label name), ordered by preference and,
// among equals, by name; the caller shuffles equals. own are the names this
// host is known by, lower case. Errors are *Error.
func (r *Resolver) MX(ctx context.Context, domain string, own []string) ([]Host, error) {
	domain = canonical(domain)
	a, err := r.lookup(ctx, domain, mdns.TypeMX)
	if err != nil {
		return nil, err
	}
	if len(a.records) == 0 {
		return []Host{{Name: domain}}, nil
	}
	hosts := make([]Host, 0, len(a.records))
	for _, rr := range a.records {
		mx, ok := rr.(*mdns.MX)
		if !ok {
			continue
		}
		if name := canonical(mx.Mx); name != "" {
			hosts = append(hosts, Host{Name: name, Preference: mx.Preference})
		}
	}
	if len(hosts) == 0 {
		return nil, &Error{Problem: NullMX, Name: domain, Why: "the domain takes no mail (null MX)"}
	}
	slices.SortFunc(hosts, func(a, b Host) int {
		if a.Preference != b.Preference {
			return int(a.Preference) - int(b.Preference)
		}
		return strings.Compare(a.Name, b.Name)
	})
	hosts = slices.CompactFunc(hosts, func(a, b Host) bool { return a.Name == b.Name })
	if i := slices.IndexFunc(hosts, func(h Host) bool { return slices.Contains(own, h.Name) }); i >= 0 {
		// A relay among the MX hosts sends only to better ones (RFC 5321 §5.1).
		limit := hosts[i].Preference
		hosts = slices.DeleteFunc(hosts, func(h Host) bool { return h.Preference >= limit })
		if len(hosts) == 0 {
			return nil, &Error{Problem: Loop, Name: domain, Why: "the best MX is this host"}
		}
	}
	return hosts, nil
}

// Addrs finds the addresses of a host, IPv6 and IPv4 alternating as RFC 8305
// §4 wants them tried. Errors are *Error; NoHost when it has none.
func (r *Resolver) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	host = canonical(host)
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return []netip.Addr{ip}, nil
	}
	var v4, v6 answer
	var err4, err6 error
	var group errgroup.Group
	group.Go(func() error { v4, err4 = r.lookup(ctx, host, mdns.TypeA); return nil })
	if r.cfg.IPv6 {
		v6, err6 = r.lookup(ctx, host, mdns.TypeAAAA)
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	addrs := interleave(addresses(v6.records), addresses(v4.records))
	if len(addrs) > 0 {
		return addrs, nil
	}
	if err := cmpErr(err4, err6); err != nil {
		return nil, err
	}
	return nil, &Error{Problem: NoHost, Name: host, Why: "it has no address"}
}

// cmpErr prefers the doubt of either answer over the certainty of the other.
func cmpErr(a, b error) error {
	var problem *Error
	if errors.As(b, &problem) && problem.Problem == Temporary || a == nil {
		return b
	}
	return a
}

func addresses(records []mdns.RR) []netip.Addr {
	var out []netip.Addr
	for _, rr := range records {
		var ip netip.Addr
		var ok bool
		switch rr := rr.(type) {
		case *mdns.A:
			ip, ok = netip.AddrFromSlice(rr.A.To4())
		case *mdns.AAAA:
			ip, ok = netip.AddrFromSlice(rr.AAAA.To16())
		}
		if ok {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

func interleave(a, b []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, len(a)+len(b))
	for i := range max(len(a), len(b)) {
		if i < len(a) {
			out = append(out, a[i])
		}
		if i < len(b) {
			out = append(out, b[i])
		}
	}
	return out
}

func canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), "."))
}
