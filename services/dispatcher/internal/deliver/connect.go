package deliver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"kurir.dev/services/dispatcher/internal/dial"
	"kurir.dev/services/dispatcher/internal/dns"
	"kurir.dev/services/dispatcher/internal/outcome"
	"kurir.dev/services/dispatcher/internal/route"
	"kurir.dev/services/dispatcher/internal/session"
	"kurir.dev/services/dispatcher/internal/site"
)

// connect opens a session to one of the group: the first host of it, or, in a
// hurry, whichever answers first. Hosts that did not are off the plan.
func (c *carrier) connect(j *job, group []dns.Host, p *plan) *session.Error {
	ctx, cancel := context.WithTimeout(j.ctx, j.mail.ExpiresAt.Sub(c.Now()))
	defer cancel()
	ctx, span := c.Tracer.Start(ctx, "connect", trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()

	if !j.lane.Inline {
		group = group[:1]
	}
	racing := slices.Clone(group)
	targets, failure := c.targets(ctx, j, racing)
	if len(targets) == 0 {
		return lost(span, p, failure, racing...)
	}
	won, err := dial.Race(ctx, c.Dialer, targets, dial.Stagger, c.timeouts(j).Connect)
	if err != nil {
		return lost(span, p, unreachable(err), racing...)
	}
	span.SetAttributes(attribute.String("server.address", won.Target.Host), attribute.String("network.peer.address", won.Target.Address))
	opened, err := c.open(ctx, j, won)
	if err != nil {
		if !errors.As(err, &failure) {
			failure = unreachable(err)
		}
		return lost(span, p, failure, dns.Host{Name: won.Target.Host})
	}
	span.SetAttributes(attribute.String("kurir.tls", opened.Info().TLS))
	c.session, c.route = opened, j.rule.Name
	c.worker.Show(opened)
	return nil
}

func unreachable(err error) *session.Error {
	return &session.Error{Failure: outcome.Failure{Stage: outcome.StageConnect, Cause: outcome.Unreachable}, Err: err}
}

// lost takes hosts off the plan.
func lost(span trace.Span, p *plan, failure *session.Error, hosts ...dns.Host) *session.Error {
	for _, h := range hosts {
		p.spent(h.Name)
	}
	fail(span, failure)
	return failure
}

// open greets the server. A handshake that fails where any certificate would
// do is remembered, and the host is spoken to in the clear.
func (c *carrier) open(ctx context.Context, j *job, won dial.Won) (*session.Session, error) {
	host := won.Target.Host
	mode := c.mode(j, host)
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	opts := session.Options{
		Host: name, EHLO: c.cfg.SMTP.EHLO, LMTP: j.rule.Type == route.LMTP, TLS: mode,
		User: j.rule.User, Password: j.rule.Password.Reveal(), Timeouts: c.timeouts(j), Now: c.Now,
	}
	s, err := session.Open(ctx, won.Conn, opts)
	var failed *session.Error
	if errors.As(err, &failed) && failed.Failure.Cause == outcome.BrokenTLS && mode == session.Opportunistic && opts.User == "" {
		c.broken.add(host, c.Now().Add(c.cfg.SMTP.BrokenTLS))
		bounded, cancel := context.WithTimeout(ctx, c.timeouts(j).Connect)
		defer cancel()
		conn, dialErr := c.Dialer.DialContext(bounded, won.Target.Network, won.Target.Address)
		if dialErr != nil {
			return nil, unreachable(dialErr)
		}
		opts.TLS = session.Clear
		s, err = session.Open(ctx, conn, opts)
	}
	if err != nil {
		return nil, err
	}
	return s.Named(host), nil
}

func (c *carrier) mode(j *job, host string) session.Mode {
	switch {
	case j.rule.TLS == route.TLSImplicit:
		return session.Implicit
	case j.rule.TLS == route.TLSRequired:
		return session.Required
	case j.rule.Type == route.Sandbox, j.rule.Type == route.LMTP, !c.cfg.SMTP.TLS, c.broken.has(host, c.Now()):
		return session.Clear
	}
	return session.Opportunistic
}

func (c *carrier) timeouts(j *job) session.Timeouts {
	if j.lane.Inline {
		return c.cfg.SMTP.Urgent
	}
	return c.cfg.SMTP.Timeouts
}

// targets are the addresses of the hosts, one of each in turn. Without any the
// failure says why.
func (c *carrier) targets(ctx context.Context, j *job, hosts []dns.Host) ([]dial.Target, *session.Error) {
	switch {
	case j.rule.Type == route.Sandbox:
		return []dial.Target{{Host: sandboxHost, Network: "tcp", Address: c.cfg.Sandbox}}, nil
	case j.rule.Type != route.MX:
		var targets []dial.Target
		for _, h := range hosts {
			if path, ok := strings.CutPrefix(h.Name, "unix:"); ok {
				targets = append(targets, dial.Target{Host: h.Name, Network: "unix", Address: path})
			} else {
				targets = append(targets, dial.Target{Host: h.Name, Network: "tcp", Address: h.Name})
			}
		}
		return targets, nil
	}
	failure := &session.Error{Failure: outcome.Failure{Stage: outcome.StageDNS, Cause: outcome.NoHost}, Err: errors.New("no host has an address")}
	lists := make([][]dial.Target, len(hosts))
	known := make([]site.Host, len(hosts))
	longest := 0
	for i, h := range hosts {
		begin := time.Now()
		addrs, err := c.Resolver.Addrs(ctx, h.Name)
		c.Metrics.lookup(ctx, time.Since(begin), err)
		known[i] = site.Host{Name: h.Name, Preference: h.Preference}
		if err != nil {
			if f := dnsFailure(err); f.Cause == outcome.DNSFailure {
				failure = &session.Error{Failure: f, Err: err}
			}
			continue
		}
		for _, a := range addrs {
			known[i].Addresses = append(known[i].Addresses, a.String())
			if refusal := c.refused(a); refusal != "" {
				if failure.Failure.Cause == outcome.NoHost {
					failure = &session.Error{Failure: outcome.Failure{Stage: outcome.StageDNS, Cause: outcome.Loop}, Err: errors.New(refusal)}
				}
				continue
			}
			lists[i] = append(lists[i], dial.Target{Host: h.Name, Network: "tcp", Address: net.JoinHostPort(a.String(), strconv.Itoa(c.cfg.SMTP.Port))})
		}
		longest = max(longest, len(lists[i]))
	}
	c.worker.Hosts(known)
	var targets []dial.Target
	for n := range longest {
		for _, list := range lists {
			if n < len(list) {
				targets = append(targets, list[n])
			}
		}
	}
	return targets, failure
}

// refused says why mail is not sent to an address; "" when it is.
func (c *carrier) refused(a netip.Addr) string {
	switch {
	case a.IsUnspecified(), a.IsMulticast(), a.IsLoopback() && !c.cfg.SMTP.AllowLoopback:
		return "a mail host points back at this machine"
	case (a.IsPrivate() || a.IsLinkLocalUnicast()) && !c.cfg.SMTP.AllowPrivate:
		return "a mail host has a private address"
	}
	return ""
}
