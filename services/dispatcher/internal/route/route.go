// Package route decides how a mail leaves: by MX, through a smart host, to an
// LMTP server, or into the sandbox inbox. Rules are tried in order and the
// first that matches wins; without a match mail goes into the sandbox, so that
// nothing leaves a machine by accident.
package route

import (
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"kurir.dev/kit/conf"
)

// Type is the way mail leaves.
type Type string

// The types.
const (
	// MX delivers to the domain's mail hosts.
	MX Type = "mx"
	// SmartHost hands everything to a relay.
	SmartHost Type = "smarthost"
	// LMTP delivers to a local mailbox server (RFC 2033).
	LMTP Type = "lmtp"
	// Sandbox keeps mail in the sandbox inbox.
	Sandbox Type = "sandbox"
)

// Match says which mail a rule is for. Empty fields match all; the filled ones
// must all match.
type Match struct {
	// Domain of the recipient, or a pattern with * and ?, in A-labels.
	Domain string `yaml:"domain"`
	// Tenant whose mail it is.
	Tenant string `yaml:"tenant"`
	// Lane it goes on.
	Lane string `yaml:"lane"`
}

// Rule is one route.
type Rule struct {
	// Name appears in events and as the site's name; empty takes the type and
	// the first host.
	Name string `yaml:"name"`
	// Match says which mail takes it.
	Match Match `yaml:"match"`
	// Type is the way it leaves.
	Type Type `yaml:"type"`
	// Hosts are the servers of a smarthost or lmtp route, host:port each, or
	// "unix:/path" for lmtp. Mail is spread over them, and a host that fails
	// is passed over.
	Hosts []string `yaml:"hosts"`
	// User logs in with AUTH PLAIN (RFC 4954); empty does not. It needs TLS,
	// or a host on loopback.
	User string `yaml:"user"`
	// Password goes with User; `password_file` names a file instead.
	Password conf.Secret `yaml:"password"`
	// TLS is "" (STARTTLS when offered), "required" (STARTTLS with a valid
	// certificate) or "implicit" (TLS from the first byte, valid certificate).
	TLS string `yaml:"tls"`
	// Connections bounds the sessions of the route; 0 takes the default of
	// sites.
	Connections int `yaml:"connections"`
}

// The values of Rule.TLS.
const (
	TLSOpportunistic = ""
	TLSRequired      = "required"
	TLSImplicit      = "implicit"
)

// Table is the routes in order. It does not change and may be shared.
type Table struct{ rules []Rule }

// New makes a table, with the sandbox as the last resort.
func New(rules []Rule) (*Table, error) {
	var faults []error
	t := &Table{}
	for i, r := range rules {
		if err := r.validate(); err != nil {
			faults = append(faults, fmt.Errorf("routes[%d]: %w", i, err))
		}
		if r.Name == "" {
			r.Name = string(r.Type)
			if len(r.Hosts) > 0 {
				r.Name += ":" + r.Hosts[0]
			}
		}
		r.Match.Domain = strings.ToLower(r.Match.Domain)
		t.rules = append(t.rules, r)
	}
	t.rules = append(t.rules, Rule{Name: string(Sandbox), Type: Sandbox})
	return t, errors.Join(faults...)
}

// Lookup finds the rule for a mail. The domain is a lower-case A-label name.
func (t *Table) Lookup(domain, tenant, lane string) Rule {
	for _, r := range t.rules {
		if r.Match.hits(domain, tenant, lane) {
			return r
		}
	}
	return t.rules[len(t.rules)-1] // not reached: the last rule matches all
}

// Uses says whether any mail can take a route of the type.
func (t *Table) Uses(typ Type) bool {
	for _, r := range t.rules {
		if r.Type == typ {
			return true
		}
		if r.Match == (Match{}) {
			return false
		}
	}
	return false
}

func (m Match) hits(domain, tenant, lane string) bool {
	if m.Tenant != "" && m.Tenant != tenant || m.Lane != "" && m.Lane != lane {
		return false
	}
	if m.Domain == "" {
		return true
	}
	ok, err := path.Match(m.Domain, domain)
	return err == nil && ok
}

func (r Rule) validate() error {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if _, err := path.Match(r.Match.Domain, ""); err != nil {
		fail("match.domain %q is no pattern", r.Match.Domain)
	}
	if r.Connections < 0 {
		fail("connections %d is below 0", r.Connections)
	}
	if !slices.Contains([]string{TLSOpportunistic, TLSRequired, TLSImplicit}, r.TLS) {
		fail("tls %q is none of required, implicit or empty", r.TLS)
	}
	switch r.Type {
	case MX, Sandbox:
		if len(r.Hosts) > 0 || r.User != "" {
			fail("a route of type %s takes neither hosts nor user", r.Type)
		}
	case SmartHost, LMTP:
		if len(r.Hosts) == 0 {
			fail("hosts: a route of type %s needs at least one", r.Type)
		}
		for _, h := range r.Hosts {
			if r.Type == LMTP && strings.HasPrefix(h, "unix:/") {
				continue
			}
			if _, port, err := net.SplitHostPort(h); err != nil || port == "" {
				fail("hosts: %q is no host:port", h)
			}
		}
		if r.User == "" && r.Password != "" {
			fail("password without user")
		}
	default:
		fail("type %q is none of mx, smarthost, lmtp, sandbox", r.Type)
	}
	return errors.Join(faults...)
}
