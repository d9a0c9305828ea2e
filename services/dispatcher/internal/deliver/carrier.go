package deliver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"kurir.dev/services/dispatcher/internal/dns"
	"kurir.dev/services/dispatcher/internal/journal"
	"kurir.dev/services/dispatcher/internal/outcome"
	"kurir.dev/services/dispatcher/internal/route"
	"kurir.dev/services/dispatcher/internal/session"
	"kurir.dev/services/dispatcher/internal/site"
	"kurir.dev/services/dispatcher/internal/verp"
)

// maxHosts bounds the hosts one attempt tries.
const maxHosts = 5

// Why a mail was stopped on its way out.
var (
	errLease     = errors.New("the lease is lost")
	errExpired   = errors.New("the mail's time is over")
	errUnwritten = errors.New("that the mail is sent could not be written down")
)

// carrier is a worker at work: it owns one session at a time.
type carrier struct {
	*Engine
	worker  *site.Worker[*job]
	session *session.Session
	route   string // name of the rule the session was opened under
	lead    *job   // like those its session may be kept for; nil for none
}

// work is the life of a worker.
func (e *Engine) work(w *site.Worker[*job]) {
	c := &carrier{Engine: e, worker: w}
	j, ok := w.First()
	for ok {
		e.dequeue(j)
		verdict := c.carry(j)
		if w.Shut() || c.session != nil && !c.session.Usable(e.cfg.SMTP.MailsPerConnection) {
			c.hangUp()
		}
		j, ok = w.Keep(verdict, c.idle(), c.refresh)
	}
	c.hangUp()
}

// idle is how long to wait for more mail: not at all without a session, or
// when there are idle sessions enough.
func (c *carrier) idle() time.Duration {
	if c.session == nil {
		return 0
	}
	if c.sites.Idle() >= c.cfg.SMTP.MaxIdle {
		return 0
	}
	return c.cfg.SMTP.Idle
}

// refresh sees to it that there is a session for codes to come, and answers
// whether there is.
func (c *carrier) refresh() bool {
	if c.session != nil && c.session.Usable(c.cfg.SMTP.MailsPerConnection) && c.session.Noop(c.life) {
		return true
	}
	c.hangUp()
	if c.lead == nil || c.life.Err() != nil {
		return false
	}
	c.lead.mail = &journal.Mail{ExpiresAt: c.Now().Add(c.cfg.SMTP.Urgent.Connect + c.cfg.SMTP.Urgent.Greeting)}
	plan := newPlan(c.lead)
	return c.connect(c.lead, plan.group(), plan) == nil
}

func (c *carrier) hangUp() {
	if c.session == nil {
		return
	}
	c.worker.Show(nil)
	c.session.Quit()
	c.session = nil
}

// carry makes one attempt at a mail and sees to what came of it.
func (c *carrier) carry(j *job) site.Verdict {
	begin := c.Now()
	j.calm = c.Gate.Begin(j.lane.Name, j.mail.Tenant)
	if j.leaving() || c.Journal.Admit(j.lease.Context(), j.lane.Name) != nil || !j.holds() && j.lease.Try(j.lease.Context()) != nil || j.leaving() { // the wait may have outlasted the lease
		c.abandon(j)
		return site.Verdict{}
	}
	if !c.Now().Before(j.mail.ExpiresAt) {
		c.expire(j, j.last)
		return site.Verdict{}
	}
	if err := c.sign(j); err != nil {
		if j.lease.Context().Err() != nil {
			c.abandon(j)
			return site.Verdict{}
		}
		c.failed(j, journal.Outcome{At: c.Now(), Site: j.site, Stage: outcome.StageQueue, Reply: outcome.Reply{Text: "the mail could not be signed"}},
			outcome.Failure{Stage: outcome.StageQueue, Cause: outcome.Internal})
		return site.Verdict{Deferred: true, Error: "signing: " + err.Error()}
	}
	j.tries++
	if j.lane.Name == c.cfg.Urgent {
		c.lead = &job{lane: j.lane, rule: j.rule, hosts: j.hosts, site: j.site, ctx: c.life}
	}
	t := c.attempt(j)
	o := t.outcome
	o.At, o.Took, o.Site, o.Route, o.Selectors = c.Now(), c.Now().Sub(begin), j.site, string(j.rule.Type), j.signed.Selectors
	switch {
	case t.result.Delivered:
		o.Kind, o.Reply = journal.Delivered, t.result.Reply
		c.settle(j, o)
		return site.Verdict{Delivered: true}
	case j.lease.Context().Err() != nil && !t.result.DotSent:
		c.spare(j)
		c.abandon(j)
		return site.Verdict{}
	case errors.Is(t.result.Stopped, errLease), errors.Is(t.result.Stopped, errUnwritten):
		c.again(j) // it may be a moment's trouble with the broker
		return site.Verdict{}
	case errors.Is(t.result.Stopped, errExpired):
		c.expire(j, o)
		return site.Verdict{}
	case t.result.InDoubt():
		return c.doubt(j, o, t.result.Failure)
	}
	o.Reply = t.result.Reply
	if o.Reply.Text == "" && t.result.Err != nil {
		o.Reply.Text = why(t.result.Err)
	}
	kind := c.failed(j, o, t.result.Failure)
	return site.Verdict{
		Deferred: kind == journal.Deferred || kind == journal.Attempted, Bounced: kind == journal.Bounced,
		Unreachable: t.result.Failure.Stage <= outcome.StageGreeting, Error: outcome.Sanitize(o.Reply.Text),
	}
}

// sign signs the mail once; a later try sends the same bytes.
func (c *carrier) sign(j *job) error {
	if j.signed != nil {
		return nil
	}
	// What is not signed stands back all the same before it begins.
	if err := c.standBack(j); err != nil {
		return err
	}
	signed, err := c.Signer.Sign(j.ctx, j.mail.FromDomain, j.mail.Message, j.lane.Name, j.mail.Tenant)
	if err != nil {
		return err
	}
	j.signed = &signed
	return nil
}

// standBack waits until the mail's lane may have a processor. No place is held:
// what comes next waits for the network.
func (c *carrier) standBack(j *job) error {
	leave, err := c.Gate.Enter(j.ctx, j.lane.Name, j.mail.Tenant)
	if err != nil {
		return err
	}
	leave()
	return nil
}

// try is what an attempt came to.
type try struct {
	outcome journal.Outcome // where it went
	result  session.Result
}

// then is what two failures, one after the other, come to: that one host takes
// the mail never, by name or by what it offers, does not outweigh another that
// may yet take it.
func (t try) then(next try) try {
	if t.result.Failure == (outcome.Failure{}) || outcome.Classify(t.result.Failure).Hard || !outcome.Classify(next.result.Failure).Hard {
		return next
	}
	return t
}

// attempt sends the mail, from host to host.
func (c *carrier) attempt(j *job) try {
	plan := newPlan(j)
	var last try
	again := true // a session that had gone stale costs no host
	for range maxHosts {
		group := plan.group()
		if len(group) == 0 {
			break
		}
		reused := c.fits(j, group)
		if !reused {
			c.hangUp()
			if failure := c.connect(j, group, plan); failure != nil {
				last = last.then(try{c.where(j, plan.last), session.Result{Failure: failure.Failure, Reply: failure.Failure.Reply, Err: failure.Err}})
				if !c.Now().Before(j.mail.ExpiresAt) {
					last.result.Stopped = errExpired
					return last
				}
				continue
			}
		}
		info := c.session.Info()
		now := try{c.where(j, info.Host), c.send(j)}
		r := now.result
		if !c.session.Usable(0) || r.Stopped != nil {
			c.worker.Show(nil)
			c.session.Close()
			c.session = nil
		}
		if r.Delivered || r.Stopped != nil || r.InDoubt() {
			return now
		}
		last = last.then(now)
		if !c.Now().Before(j.mail.ExpiresAt) {
			last.result.Stopped = errExpired
			return last
		}
		stale := reused && again && r.Failure.Stage == outcome.StageMail && (r.Failure.Cause == outcome.Lost || r.Failure.Reply.Code == 421)
		if stale {
			again = false
			continue
		}
		verdict := outcome.Classify(r.Failure)
		plan.spent(info.Host)
		if !verdict.NextHost && (!j.lane.Inline || verdict.Hard || verdict.RetryAfter > 0) {
			return now // another host would say the same
		}
	}
	return last
}

// fits says whether the session at hand can carry the job now.
func (c *carrier) fits(j *job, group []dns.Host) bool {
	if c.session == nil || c.route != j.rule.Name || !c.session.Usable(c.cfg.SMTP.MailsPerConnection) {
		return false
	}
	host := c.session.Info().Host
	for _, h := range group {
		if h.Name == host {
			return true
		}
	}
	return false
}

func (c *carrier) where(j *job, host string) journal.Outcome {
	o := journal.Outcome{Site: j.site, Host: host, Route: string(j.rule.Type)}
	if c.session != nil {
		info := c.session.Info()
		o.RemoteIP, o.TLS = info.Remote, info.TLS
	}
	return o
}

// send carries the mail over the session at hand.
func (c *carrier) send(j *job) session.Result {
	info := c.session.Info()
	ctx, span := c.Tracer.Start(j.ctx, "smtp attempt", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("server.address", info.Host), attribute.String("network.peer.address", info.Remote),
		attribute.String("kurir.tls", info.TLS), attribute.Int64("kurir.sequence", int64(j.tries)),
	))
	defer span.End()
	path, err := verp.Encode(j.mail.MailID, j.mail.ReturnDomain)
	if err != nil {
		path = "" // without a return domain mail goes out with the null return path
	}
	timeouts := c.cfg.SMTP.Timeouts
	if j.lane.Inline {
		timeouts = c.cfg.SMTP.Urgent
	}
	j.bound.Store(false)
	line, cut := context.WithCancel(c.life)
	defer cut()
	defer context.AfterFunc(j.lease.Context(), func() {
		if !j.bound.Load() { // a reply to the dot is worth waiting for without a lease, too
			cut()
		}
	})()
	r := c.session.Send(line, session.Mail{
		From: path, To: j.mail.Recipient, UTF8: j.mail.UTF8, Priority: priority(j), Body: j.signed.Message,
		Deadline: time.Now().Add(j.mail.ExpiresAt.Sub(c.Now())), Timeouts: timeouts,
		Begin: func() error {
			if j.lease.Draining() {
				return errLease // nothing of it is on the wire yet
			}
			return c.may(j)
		},
		Ready: func() error {
			if c.standBack(j) != nil {
				return errLease
			}
			return nil
		},
		Commit: func() error {
			j.bound.Store(true) // before the lease is looked at: see Lane.Handle
			if err := c.may(j); err != nil || !j.holds() {
				return err
			}
			o := c.where(j, info.Host)
			o.Kind, o.Sequence, o.At, o.Stage, o.Traceparent = journal.Committing, j.tries, c.Now(), outcome.StageDot, j.traceparent()
			at, err := c.Journal.Commit(ctx, j.mail, o, j.lease.Partition)
			if err != nil {
				j.noted = -1 // it may stand nonetheless
				return fmt.Errorf("%w: %w", errUnwritten, err)
			}
			j.noted = at
			j.home.ledger.waive(j.mail.Key)
			return c.may(j)
		},
	})
	span.SetAttributes(attribute.Int("kurir.smtp_code", r.Reply.Code), attribute.String("kurir.smtp_enhanced_code", r.Reply.Enhanced),
		attribute.String("kurir.stage", stageOf(r).String()))
	if !r.Delivered {
		span.SetStatus(codes.Error, stageOf(r).String())
	}
	return r
}

// may says whether the mail may go on: its lease holds for certain and its
// time is not over.
func (c *carrier) may(j *job) error {
	if !j.lease.Alive() || j.lease.Context().Err() != nil {
		return errLease
	}
	if !c.Now().Before(j.mail.ExpiresAt) {
		return errExpired
	}
	return nil
}

// priority is what MT-PRIORITY says of a lane (RFC 6710): the highest lane 6,
// the next ones three less each.
func priority(j *job) int { return max(6-3*j.lane.Rank, -6) }

func stageOf(r session.Result) outcome.Stage {
	if r.Delivered {
		return outcome.StageDot
	}
	return r.Failure.Stage
}

// plan is the hosts of a job not tried yet, in groups of equal preference,
// equals in random order (RFC 5321 §5.1).
type plan struct {
	hosts []dns.Host
	last  string // the host tried last
}

func newPlan(j *job) *plan {
	p := &plan{}
	if j.rule.Type != route.MX {
		for _, h := range j.rule.Hosts {
			p.hosts = append(p.hosts, dns.Host{Name: h})
		}
		if j.rule.Type == route.Sandbox {
			p.hosts = []dns.Host{{Name: sandboxHost}}
		}
	} else {
		p.hosts = append(p.hosts, j.hosts...)
	}
	for from := 0; from < len(p.hosts); {
		to := from
		for to < len(p.hosts) && p.hosts[to].Preference == p.hosts[from].Preference {
			to++
		}
		equals := p.hosts[from:to]
		rand.Shuffle(len(equals), func(a, b int) { equals[a], equals[b] = equals[b], equals[a] })
		from = to
	}
	return p
}

const sandboxHost = "sandbox"

// group is the best hosts left.
func (p *plan) group() []dns.Host {
	n := 0
	for n < len(p.hosts) && p.hosts[n].Preference == p.hosts[0].Preference {
		n++
	}
	return p.hosts[:n]
}

// spent takes a host off the plan.
func (p *plan) spent(host string) {
	p.last = host
	for i, h := range p.hosts {
		if h.Name == host {
			p.hosts = append(p.hosts[:i:i], p.hosts[i+1:]...)
			return
		}
	}
}

func fail(span trace.Span, err error) {
	span.RecordError(err)
	span.SetStatus(codes.Error, "failed")
}

// why puts a connection's error into words without addresses of ours.
func why(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "the server did not answer in time"
	case errors.Is(err, context.Canceled):
		return "the attempt was given up"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return "the connection failed: " + err.Error()
}
