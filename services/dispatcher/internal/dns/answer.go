package dns

import (
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// maxChain bounds the CNAMEs followed.
const maxChain = 8

// Times to keep what has no TTL of its own.
const (
	failureTTL  = time.Second     // a failure, so that a flood asks once (RFC 2308 §7)
	negativeTTL = 5 * time.Second // an absence without SOA, which may not be kept longer
	negativeMax = 3 * time.Hour   // RFC 2308 §5
)

// answer is what one question came to.
type answer struct {
	// records are of the type asked for; none with a nil problem means the
	// name exists without such records.
	records []mdns.RR
	// problem is nil, NoDomain or Temporary.
	problem *Error
	// next is the CNAME target to ask for when the server did not follow it.
	next string
	// ttl is how long the answer may be kept.
	ttl time.Duration
}

// read interprets a server's message as the answer to (name, qtype). It trusts
// nothing in it: records of other owners and types are passed over.
func read(name string, qtype uint16, msg *mdns.Msg) answer {
	if msg.Rcode != mdns.RcodeSuccess && msg.Rcode != mdns.RcodeNameError {
		return failure(name, "the server answered "+rcode(msg.Rcode))
	}
	owner, ttl := canonical(name), uint32(1<<31-1)
	for range maxChain {
		var found []mdns.RR
		var alias string
		for _, rr := range msg.Answer {
			if rr == nil || canonical(rr.Header().Name) != owner || rr.Header().Class != mdns.ClassINET {
				continue
			}
			if cname, ok := rr.(*mdns.CNAME); ok && qtype != mdns.TypeCNAME {
				alias, ttl = canonical(cname.Target), min(ttl, cname.Hdr.Ttl)
			} else if rr.Header().Rrtype == qtype {
				found, ttl = append(found, rr), min(ttl, rr.Header().Ttl)
			}
		}
		if len(found) > 0 {
			return answer{records: found, ttl: time.Duration(ttl) * time.Second}
		}
		if alias == "" {
			return absent(name, owner, msg, ttl)
		}
		owner = alias
	}
	return failure(name, "its chain of CNAMEs is too long")
}

// absent is an answer without records: the end of a chain to go on from, a
// name that does not exist, or one without records of the type.
func absent(name, owner string, msg *mdns.Msg, ttl uint32) answer {
	keep := negativeTTL
	authority := false
	for _, rr := range msg.Ns {
		if soa, ok := rr.(*mdns.SOA); ok {
			authority = true
			keep = min(time.Duration(min(soa.Hdr.Ttl, soa.Minttl))*time.Second, negativeMax)
		}
	}
	keep = min(keep, time.Duration(ttl)*time.Second)
	if msg.Rcode == mdns.RcodeNameError {
		return answer{problem: &Error{Problem: NoDomain, Name: canonical(name), Why: "no such domain"}, ttl: keep}
	}
	if owner != canonical(name) && !authority {
		return answer{next: owner, ttl: time.Duration(ttl) * time.Second}
	}
	return answer{ttl: keep}
}

func failure(name, why string) answer {
	return answer{problem: &Error{Problem: Temporary, Name: canonical(name), Why: why}, ttl: failureTTL}
}

func rcode(code int) string {
	if s, ok := mdns.RcodeToString[code]; ok {
		return s
	}
	return "an unknown code"
}

// answers tells whether msg replies to the question asked (RFC 5452 §4).
func answers(q, msg *mdns.Msg) bool {
	return msg != nil && msg.Response && msg.Id == q.Id && len(msg.Question) == 1 &&
		msg.Question[0].Qtype == q.Question[0].Qtype && strings.EqualFold(msg.Question[0].Name, q.Question[0].Name)
}
