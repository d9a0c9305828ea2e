package mxsim

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// DNS is an authoritative server for every name in the world, over UDP and
// TCP on one port. Names it was not told of do not exist (NXDOMAIN), known
// names have no other types (NODATA), both with an SOA for negative caching.
// "*.zone." answers for names below zone that nothing more exact answers.
// Safe for concurrent use; changes take effect with the next question.
type DNS struct {
	udp, tcp *dns.Server
	addr     string
	wg       sync.WaitGroup

	mu     sync.RWMutex
	ttl    uint32
	names  map[string]*entry
	counts map[question]int
}

type entry struct {
	rrs    []dns.RR
	rcode  int  // instead of an answer, unless NOERROR
	hang   bool // no answer at all
	signed bool // answers carry AD, as from a validating resolver
}

type question struct {
	name  string
	qtype uint16
}

// NewDNS starts a server on addr, "127.0.0.1:0" if empty; a taken port is an
// error. Close it in the end.
func NewDNS(addr string) (*DNS, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	packet, stream, err := listenBoth(addr)
	if err != nil {
		return nil, fmt.Errorf("starting dns on %s: %w", addr, err)
	}
	d := &DNS{
		addr:   packet.LocalAddr().String(),
		ttl:    60,
		names:  map[string]*entry{},
		counts: map[question]int{},
	}
	d.udp = &dns.Server{PacketConn: packet, Handler: dns.HandlerFunc(d.serve)}
	d.tcp = &dns.Server{Listener: stream, Handler: dns.HandlerFunc(d.serve)}
	for _, s := range []*dns.Server{d.udp, d.tcp} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		d.wg.Go(func() { _ = s.ActivateAndServe() })
		<-up
	}
	return d, nil
}

// listenBoth finds a port free for UDP and TCP alike.
func listenBoth(addr string) (net.PacketConn, net.Listener, error) {
	var errs error
	for range 16 {
		packet, err := net.ListenPacket("udp", addr) //nolint:noctx // bound for the server's life
		if err != nil {
			return nil, nil, err
		}
		stream, err := net.Listen("tcp", packet.LocalAddr().String()) //nolint:noctx // likewise
		if err == nil {
			return packet, stream, nil
		}
		errs = errors.Join(err, packet.Close())
	}
	return nil, nil, errs
}

// Addr is the server's host:port.
func (d *DNS) Addr() string { return d.addr }

// Close stops the server and waits until it has.
func (d *DNS) Close() error {
	err := errors.Join(d.udp.Shutdown(), d.tcp.Shutdown())
	d.wg.Wait()
	return err
}

// Set replaces all records of name, and any Fail or Hang on it.
func (d *DNS) Set(name string, rrs ...dns.RR) {
	d.edit(name, func(e *entry) { *e = entry{rrs: rrs, signed: e.signed} })
}

// Add adds records in zone-file form ("example.test. 60 IN MX 10
// mx.example.test."); a record without a TTL gets the server's.
func (d *DNS) Add(records ...string) error {
	for _, text := range records {
		zone := dns.NewZoneParser(strings.NewReader(text), ".", "")
		zone.SetDefaultTTL(d.TTL())
		for rr, ok := zone.Next(); ok; rr, ok = zone.Next() {
			d.add(rr)
		}
		if err := zone.Err(); err != nil {
			return fmt.Errorf("reading record %q: %w", text, err)
		}
	}
	return nil
}

// MX gives domain the hosts as its MX, at preferences 10, 20, 30 ...
func (d *DNS) MX(domain string, hosts ...string) {
	for i, host := range hosts {
		d.MXAt(domain, 10*(i+1), host)
	}
}

// MXAt gives domain hosts as MX at one preference, equals among themselves.
func (d *DNS) MXAt(domain string, preference int, hosts ...string) {
	for _, host := range hosts {
		d.add(&dns.MX{Hdr: d.header(domain, dns.TypeMX), Preference: uint16(preference), Mx: dns.CanonicalName(host)})
	}
}

// NullMX says that domain takes no mail (RFC 7505).
func (d *DNS) NullMX(domain string) { d.MXAt(domain, 0, ".") }

// Host gives name its addresses, IPv4 as A and IPv6 as AAAA. Addresses that
// are none are passed over.
func (d *DNS) Host(name string, addrs ...string) {
	for _, text := range addrs {
		switch ip, err := netip.ParseAddr(text); {
		case err != nil:
		case ip.Is4():
			d.add(&dns.A{Hdr: d.header(name, dns.TypeA), A: ip.AsSlice()})
		default:
			d.add(&dns.AAAA{Hdr: d.header(name, dns.TypeAAAA), AAAA: ip.AsSlice()})
		}
	}
}

// CNAME makes name an alias of target.
func (d *DNS) CNAME(name, target string) {
	d.add(&dns.CNAME{Hdr: d.header(name, dns.TypeCNAME), Target: dns.CanonicalName(target)})
}

// TXT gives name a text record.
func (d *DNS) TXT(name, text string) {
	var parts []string
	for ; len(text) > 255; text = text[255:] {
		parts = append(parts, text[:255])
	}
	d.add(&dns.TXT{Hdr: d.header(name, dns.TypeTXT), Txt: append(parts, text)})
}

// TLSA publishes a certificate association (RFC 6698) at name, such as
// "_25._tcp.mx.example.test."; data is in hex. See also [DNS.Sign].
func (d *DNS) TLSA(name string, usage, selector, matching uint8, data string) {
	d.add(&dns.TLSA{Hdr: d.header(name, dns.TypeTLSA), Usage: usage, Selector: selector, MatchingType: matching, Certificate: data})
}

// Fail answers every question about name with rcode (dns.RcodeServerFailure,
// dns.RcodeRefused ...); dns.RcodeSuccess answers properly again.
func (d *DNS) Fail(name string, rcode int) { d.edit(name, func(e *entry) { e.rcode = rcode }) }

// Hang leaves questions about name without an answer, or stops doing so.
func (d *DNS) Hang(name string, on bool) { d.edit(name, func(e *entry) { e.hang = on }) }

// Sign sets the AD bit (RFC 4035 §3.2.3) on answers about name to questions
// that ask with DO or AD, as a validating resolver in front would.
func (d *DNS) Sign(name string) { d.edit(name, func(e *entry) { e.signed = true }) }

// Remove forgets name: it does not exist any more.
func (d *DNS) Remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.names, dns.CanonicalName(name))
}

// SetTTL sets the TTL of records made from now on (60 s at first) and of
// negative answers. Whole seconds count.
func (d *DNS) SetTTL(ttl time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ttl = uint32(ttl / time.Second)
}

// TTL is what SetTTL set, in seconds.
func (d *DNS) TTL() uint32 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.ttl
}

// Queries counts the questions asked so far about name and qtype (dns.TypeMX
// ...), those without an answer included.
func (d *DNS) Queries(name string, qtype uint16) int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.counts[question{dns.CanonicalName(name), qtype}]
}

func (d *DNS) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: dns.CanonicalName(name), Rrtype: rrtype, Class: dns.ClassINET, Ttl: d.TTL()}
}

func (d *DNS) add(rr dns.RR) {
	// A new slice: answers being written may still read the old one.
	d.edit(rr.Header().Name, func(e *entry) { e.rrs = append(slices.Clone(e.rrs), rr) })
}

func (d *DNS) edit(name string, change func(e *entry)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = dns.CanonicalName(name)
	next := entry{}
	if e := d.names[name]; e != nil {
		next = *e
	}
	change(&next)
	d.names[name] = &next
}
