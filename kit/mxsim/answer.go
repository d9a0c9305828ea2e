package mxsim

import (
	"strings"

	"github.com/miekg/dns"
)

// maxAliases bounds how far a chain of CNAMEs is followed.
const maxAliases = 8

// serve answers one question. It runs concurrently.
func (d *DNS) serve(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative, m.RecursionAvailable = true, true
	m.Compress = true
	if len(r.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		_ = w.WriteMsg(m)
		return
	}
	q := r.Question[0]
	if !d.answer(m, dns.CanonicalName(q.Name), q.Qtype, r) {
		return // silence; over TCP the connection stays open for a while
	}
	if opt := r.IsEdns0(); opt != nil {
		m.SetEdns0(dns.DefaultMsgSize, opt.Do())
	}
	if w.RemoteAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := r.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		m.Truncate(size) // sets TC (RFC 2181 §9): ask again over TCP
	}
	_ = w.WriteMsg(m) // the asker has gone: nobody to tell
}

// answer fills m and says whether to send it.
func (d *DNS) answer(m *dns.Msg, name string, qtype uint16, r *dns.Msg) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[question{name, qtype}]++
	wantsAD := r.AuthenticatedData
	if opt := r.IsEdns0(); opt != nil {
		wantsAD = wantsAD || opt.Do()
	}
	signed := true
	for range maxAliases {
		e := d.find(name)
		if e == nil {
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{d.soa(name)}
			return true
		}
		if e.hang {
			return false
		}
		if e.rcode != dns.RcodeSuccess {
			m.Rcode, m.Answer = e.rcode, nil
			return true
		}
		signed = signed && e.signed
		m.AuthenticatedData = signed && wantsAD
		alias, found := "", false
		for _, rr := range e.rrs {
			if t := rr.Header().Rrtype; t != qtype && t != dns.TypeCNAME {
				continue
			}
			rr = dns.Copy(rr)
			rr.Header().Name = name // a wildcard's records answer under the name asked
			m.Answer = append(m.Answer, rr)
			found = true
			if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
				alias = dns.CanonicalName(c.Target)
			}
		}
		if alias == "" {
			if !found {
				m.Ns = []dns.RR{d.soa(name)}
			}
			return true
		}
		name = alias
	}
	m.Rcode, m.Answer = dns.RcodeServerFailure, nil // a loop of aliases
	return true
}

// find looks name up, then the wildcards above it (RFC 4592), the closest
// first.
func (d *DNS) find(name string) *entry {
	if e := d.names[name]; e != nil {
		return e
	}
	for rest := name; ; {
		_, above, ok := strings.Cut(rest, ".")
		if !ok || above == "" {
			return nil
		}
		if e := d.names["*."+above]; e != nil {
			return e
		}
		rest = above
	}
}

// soa makes negative answers cacheable (RFC 2308 §3).
func (d *DNS) soa(name string) dns.RR {
	_, zone, _ := strings.Cut(name, ".")
	if zone == "" {
		zone = "."
	}
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: d.ttl},
		Ns:  "ns.invalid.", Mbox: "hostmaster.invalid.",
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: d.ttl,
	}
}
