package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"
)

// Resolver looks names up and remembers the answers.
type Resolver struct {
	cfg     Config
	servers []string
	now     func() time.Time

	mu     sync.Mutex
	cache  map[question]kept
	flight map[question]chan struct{}
}

type question struct {
	name  string
	qtype uint16
}

type kept struct {
	answer
	until time.Time
}

// New makes a resolver. now nil means time.Now. It fails when there is no
// server to ask.
func New(cfg Config, now func() time.Time) (*Resolver, error) {
	if now == nil {
		now = time.Now
	}
	servers := cfg.Servers
	if len(servers) == 0 {
		system, err := mdns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return nil, fmt.Errorf("reading the system's name servers: %w", err)
		}
		for _, s := range system.Servers {
			servers = append(servers, net.JoinHostPort(s, system.Port))
		}
	}
	if len(servers) == 0 {
		return nil, errors.New("no name server: set dns.servers")
	}
	r := &Resolver{cfg: cfg, now: now, cache: map[question]kept{}, flight: map[question]chan struct{}{}}
	for _, s := range servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			s = net.JoinHostPort(strings.Trim(s, "[]"), "53")
		}
		r.servers = append(r.servers, s)
	}
	return r, nil
}

// lookup answers from the cache or asks, sharing the query with concurrent
// callers. The error is nil or *Error.
func (r *Resolver) lookup(ctx context.Context, name string, qtype uint16) (answer, error) {
	q := question{canonical(name), qtype}
	for {
		r.mu.Lock()
		if k, ok := r.cache[q]; ok && r.now().Before(k.until) {
			r.mu.Unlock()
			return k.unwrap()
		}
		wait, shared := r.flight[q]
		if !shared {
			wait = make(chan struct{})
			r.flight[q] = wait
		}
		r.mu.Unlock()
		if !shared {
			return r.lead(ctx, q, wait)
		}
		select {
		case <-wait: // the leader has left its answer, or gave up: look again
		case <-ctx.Done():
			return failure(name, "the lookup was given up").unwrap()
		}
	}
}

// lead asks on behalf of all who wait. An answer cut short by this caller's
// own context is not kept, so that another takes over.
func (r *Resolver) lead(ctx context.Context, q question, wait chan struct{}) (answer, error) {
	a := r.chase(ctx, q)
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() == nil {
		r.keep(q, a)
	}
	delete(r.flight, q)
	close(wait)
	return a.unwrap()
}

func (a answer) unwrap() (answer, error) {
	if a.problem != nil {
		return a, a.problem
	}
	return a, nil
}

// leastTTL is how long an answer serves at least, so that all who waited for
// one with a TTL of 0 are answered by it instead of asking in turn.
const leastTTL = time.Second

// keep stores under r.mu. A full cache loses what is out of date, or else any
// one answer.
func (r *Resolver) keep(q question, a answer) {
	now := r.now()
	if _, ok := r.cache[q]; !ok && len(r.cache) >= r.cfg.CacheSize {
		var victim question
		looked := 0
		for k, v := range r.cache {
			victim = k
			if looked++; looked > 16 || !now.Before(v.until) {
				break
			}
		}
		delete(r.cache, victim)
	}
	r.cache[q] = kept{a, now.Add(min(max(a.ttl, leastTTL), r.cfg.MaxTTL))}
}

// chase follows CNAMEs a server left for us to follow.
func (r *Resolver) chase(ctx context.Context, q question) answer {
	name, ttl := q.name, time.Duration(1<<62)
	for range maxChain {
		a := r.ask(ctx, name, q.qtype)
		ttl = min(ttl, a.ttl)
		if a.next == "" {
			a.ttl = ttl
			return a
		}
		name = a.next
	}
	return failure(q.name, "its chain of CNAMEs is too long")
}

// ask puts one question to the servers in turn until one gives an answer.
func (r *Resolver) ask(ctx context.Context, name string, qtype uint16) answer {
	last := failure(name, "no server answered")
	for range r.cfg.Attempts {
		for _, server := range r.servers {
			if ctx.Err() != nil {
				return failure(name, "the lookup was given up")
			}
			msg, err := r.exchange(ctx, server, name, qtype)
			if err != nil {
				last = failure(name, "a server did not answer")
				continue
			}
			a := read(name, qtype, msg)
			if a.problem == nil || a.problem.Problem != Temporary {
				return a
			}
			last = a
		}
	}
	return last
}

// exchange asks one server over UDP, and over TCP when the answer is cut
// short (RFC 7766 §5).
func (r *Resolver) exchange(ctx context.Context, server, name string, qtype uint16) (*mdns.Msg, error) {
	q := new(mdns.Msg)
	q.SetQuestion(mdns.Fqdn(name), qtype)
	q.SetEdns0(1232, false)
	for _, network := range []string{"udp", "tcp"} {
		client := mdns.Client{Net: network, Timeout: r.cfg.Timeout, UDPSize: 1232}
		bounded, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
		msg, _, err := client.ExchangeContext(bounded, q, server)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("asking over %s: %w", network, err)
		}
		if !answers(q, msg) {
			return nil, fmt.Errorf("asking over %s: the reply is to another question", network)
		}
		if !msg.Truncated {
			return msg, nil
		}
	}
	return nil, errors.New("the reply was cut short over TCP")
}
