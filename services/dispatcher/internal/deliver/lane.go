package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"kurir.dev/kit/custody"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/record"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/topic"
	"kurir.dev/services/dispatcher/internal/dkim"
	"kurir.dev/services/dispatcher/internal/dns"
	"kurir.dev/services/dispatcher/internal/journal"
	"kurir.dev/services/dispatcher/internal/outcome"
	"kurir.dev/services/dispatcher/internal/route"
)

// Lane handles the records of one lane; it is a custody.Handler.
type Lane struct {
	engine  *Engine
	lane    lane.Lane
	ledger  *ledger[*job]
	lookups [topic.Bands]chan struct{} // neither band waits for the other's
	taken   atomic.Int64               // records so far
	pressed atomic.Int64               // partitions that stand still until some of its mail ends
}

var (
	_ custody.Handler = (*Lane)(nil)
	_ custody.Presser = (*Lane)(nil)
)

// Lane is the handler of a lane that the engine serves.
func (e *Engine) Lane(name string) (*Lane, error) {
	l, ok := e.homes[name]
	if !ok {
		return nil, fmt.Errorf("lane %q is not served", name)
	}
	return l, nil
}

// job is a mail under way.
type job struct {
	mail   *journal.Mail
	home   *Lane
	lane   lane.Lane
	lease  *custody.Delivery
	twins  []*custody.Delivery // other records of the same release; the ledger's lock guards them
	serial int64               // in the order records came: of their offsets
	ctx    context.Context     //nolint:containedctx // carries the span of the delivery, and ends with the lease
	span   trace.Span
	bound  atomic.Bool // at the dot or beyond: its end counts even if its lease ends first

	// The rest belongs to whoever carries the job: one goroutine at a time.
	rule    route.Rule
	site    string
	hosts   []dns.Host // of the MX route, best first
	signed  *dkim.Signed
	tries   uint32 // in this release
	listens bool   // for its last owner's word; it is given back then
	calm    func() // says at the gate that the mail is not in work any more
	noted   int64  // where its last committing note lies; -1 for nowhere
	doubt   bool   // an earlier try may have delivered it
	doubted int    // how often it went out again at once for that
	last    journal.Outcome
	once    sync.Once
}

// leaving says that the job must not be begun, or begun again: its lease is on
// its way out, or does not hold for certain.
func (j *job) leaving() bool {
	return j.lease.Draining() || j.lease.Context().Err() != nil || !j.lease.Alive()
}

// traceparent names the delivery's span.
func (j *job) traceparent() string {
	parent, _ := telemetry.Inject(j.ctx)
	return parent
}

// Recover remembers what earlier owners wrote.
func (l *Lane) Recover(_ context.Context, r custody.Record) {
	if key, known, ok := journal.Read(l.engine.Codec, r); ok {
		if known.Crowded {
			l.engine.sites.Book(known.Site, known.NextAt)
		}
		l.ledger.recall(r.Partition, key, known)
	}
}

// Revoke forgets a partition.
func (l *Lane) Revoke(partition int) { l.ledger.forget(partition) }

// Press notes that a partition waits until mail of the lane ends: the engine
// looks at its next sweep for sites that hold it up.
func (l *Lane) Press(_ int, on bool) {
	if on {
		l.pressed.Add(1)
	} else {
		l.pressed.Add(-1)
	}
}

// Handle takes a lane record over.
func (l *Lane) Handle(d *custody.Delivery) {
	e := l.engine
	serial := l.taken.Add(1)
	if d.Draining() {
		d.Abandon()
		return
	}
	calm := e.Gate.Begin(l.lane.Name, record.Header(d.Record, record.HeaderTenant))
	mail, err := l.open(d)
	if mail == nil {
		calm()
		if err == nil {
			d.Abandon()
		} else {
			l.bury(d, err)
		}
		return
	}
	j := &job{mail: mail, home: l, lane: l.lane, lease: d, serial: serial, calm: calm, noted: -1}
	joined := false
	known, fresh := l.ledger.begin(d.Partition, mail.Key, j, func(other *job) bool {
		if other.lease.Context().Err() != nil && !other.bound.Load() {
			return false // a leftover of a lease that is over
		}
		other.twins = append(other.twins, d)
		joined = true
		return true
	})
	if !fresh {
		calm()
	}
	switch {
	case joined: // this record ends with that one
		return
	case !fresh:
		l.settleAgain(d, mail, known)
		return
	}
	ctx := telemetry.Extract(d.Context(), mail.Traceparent, mail.Tracestate)
	j.ctx, j.span = e.Tracer.Start(ctx, "deliver", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes( //nolint:spancheck // settle and abandon end it
		attribute.String("kurir.mail_id", mail.MailID), attribute.String("kurir.lane", mail.Lane), attribute.String("kurir.tenant", mail.Tenant),
		attribute.Int64("kurir.attempt", int64(mail.Attempt)), attribute.String("kurir.recipient_domain", mail.Domain),
	))
	if owed, ok := l.ledger.debt(mail.Key); ok && owed.counts(known) {
		if owed.outcome.Kind.Settles() {
			e.write(j, owed.outcome)
			return
		}
		if known.Kind == journal.Committing {
			known.Kind = journal.Attempted // the dot that was about to be sent was not
		}
	}
	j.doubt = mail.PossibleDuplicate || known.Doubt
	j.tries = known.Sequence // of what an earlier owner tried and could not end
	if known.Kind == journal.Committing {
		if j.holds() {
			if l.ledger.ask(d.Partition, mail.Key) {
				e.listen(j)
				return
			}
			e.hold(j, journal.Outcome{Sequence: known.Sequence, Stage: outcome.StageDot, Verdict: outcome.Classify(outcome.Failure{Stage: outcome.StageDot, Cause: outcome.Lost})})
			return
		}
		j.doubt = true
		e.Metrics.duplicate(j.ctx, j.lane.Name)
	} else if d.Again() && !j.holds() { // which would have told that it was at the dot
		j.doubt = true
		e.Metrics.orphan(j.ctx, j.lane.Name)
	}
	if rule := e.Routes.Lookup(mail.Domain, mail.Tenant, mail.Lane); rule.Type != route.MX {
		e.route(j) // nothing to look up
		return
	}
	select {
	case l.lookups[d.Band] <- struct{}{}:
		e.lookups.Go(func() {
			defer func() { <-l.lookups[d.Band] }()
			e.route(j)
		})
	case <-d.Context().Done():
		e.abandon(j)
	}
}

// open opens the record of a delivery, when the lane may have a processor; nil
// without an error when the lease ended before.
func (l *Lane) open(d *custody.Delivery) (*journal.Mail, error) {
	leave, err := l.engine.Gate.Enter(d.Context(), l.lane.Name, record.Header(d.Record, record.HeaderTenant))
	if err != nil {
		return nil, nil //nolint:nilnil // the lease is over: there is nothing to say of the record
	}
	defer leave()
	return journal.Open(l.engine.Codec, d.Record, l.lane.Name)
}

// holds says whether the mail is held when nobody knows if it was delivered.
func (j *job) holds() bool {
	return j.mail.InDoubt == journal.Hold || j.mail.InDoubt == journal.LaneDecides && j.lane.InDoubt == lane.Hold
}

// settleAgain completes a record whose outcome is in the journal. A deferral
// may not have followed its outcome: it is written again, which the waiting
// room takes as one.
func (l *Lane) settleAgain(d *custody.Delivery, m *journal.Mail, known journal.Settled) {
	if known.Kind.Final() {
		d.Complete(known.Offset)
		return
	}
	if err := l.engine.Journal.Repeat(d.Context(), m, known, finish(d)); err != nil {
		l.engine.Log.LogAttrs(d.Context(), slog.LevelError, "a deferral could not be repeated", slog.String("mail_id", m.MailID), slog.Any("error", err))
		d.Abandon()
	}
}

// bury sends a record that will never open to the dead topic.
func (l *Lane) bury(d *custody.Delivery, cause error) {
	e := l.engine
	e.Log.LogAttrs(d.Context(), slog.LevelError, "a lane record does not open", slog.String("lane", l.lane.Name),
		slog.Int("partition", d.Partition), slog.Int64("offset", d.Offset), slog.Any("error", cause))
	if err := e.Journal.Bury(d.Context(), d.Record, l.lane.Name, cause.Error(), finish(d)); err != nil {
		e.Log.LogAttrs(d.Context(), slog.LevelError, "a record could not be buried", slog.Any("error", err))
		d.Abandon()
	}
}

func finish(d *custody.Delivery) func(offset int64, ok bool) {
	return func(offset int64, ok bool) {
		if ok {
			d.Complete(offset)
		} else {
			d.Abandon()
		}
	}
}

// route finds where the job goes and lets it wait there.
func (e *Engine) route(j *job) {
	if j.leaving() {
		e.abandon(j)
		return
	}
	j.rule = e.Routes.Lookup(j.mail.Domain, j.mail.Tenant, j.mail.Lane)
	if j.mail.Blob != "" {
		e.failed(j, journal.Outcome{At: e.Now(), Stage: outcome.StageQueue, Reply: outcome.Reply{Text: "no blob store is configured to read the message from"}},
			outcome.Failure{Stage: outcome.StageQueue, Cause: outcome.Internal})
		return
	}
	if j.rule.Type != route.MX {
		j.site = j.rule.Name
		e.enqueue(j)
		return
	}
	begin := e.Now()
	ctx, cancel := context.WithTimeout(j.ctx, j.mail.ExpiresAt.Sub(begin))
	defer cancel()
	hosts, err := e.lookup(ctx, j.mail.Domain)
	if err != nil {
		j.tries++
		e.failed(j, journal.Outcome{At: e.Now(), Took: e.Now().Sub(begin), Stage: outcome.StageDNS, Reply: outcome.Reply{Text: err.Error()}}, dnsFailure(err))
		return
	}
	j.hosts, j.site = hosts, siteName(hosts)
	e.enqueue(j)
}

func (e *Engine) lookup(ctx context.Context, domain string) ([]dns.Host, error) {
	ctx, span := e.Tracer.Start(ctx, "dns", trace.WithAttributes(attribute.String("dns.question.name", domain), attribute.String("dns.question.type", "MX")))
	defer span.End()
	begin := time.Now()
	hosts, err := e.Resolver.MX(ctx, domain, e.own)
	e.Metrics.lookup(ctx, time.Since(begin), err)
	if err != nil {
		fail(span, err)
		return nil, err
	}
	span.SetAttributes(attribute.Int("kurir.mx_hosts", len(hosts)))
	return hosts, nil
}

func dnsFailure(err error) outcome.Failure {
	f := outcome.Failure{Stage: outcome.StageDNS, Cause: outcome.DNSFailure}
	var problem *dns.Error
	if !errors.As(err, &problem) {
		return f
	}
	switch problem.Problem {
	case dns.NoDomain:
		f.Cause = outcome.NoDomain
	case dns.NullMX:
		f.Cause = outcome.NullMX
	case dns.NoHost:
		f.Cause = outcome.NoHost
	case dns.Loop:
		f.Cause = outcome.Loop
	case dns.Temporary:
	}
	return f
}
