package deliver

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"kurir.dev/kit/custody"
	"kurir.dev/services/dispatcher/internal/journal"
	"kurir.dev/services/dispatcher/internal/outcome"
	"kurir.dev/services/dispatcher/internal/site"
)

// settle writes down what ended this release of the mail and lets go of its
// record. What is not the reply to a dot is for the mail's owner to say: without
// a lease it is not said, unless this process gets the mail again.
func (e *Engine) settle(j *job, o journal.Outcome) {
	e.complete(j, &o)
	if !o.Answered() && !j.lease.Alive() {
		j.home.ledger.owe(j.mail.Key, o, j.noted)
		e.abandon(j)
		return
	}
	e.observe(j, o)
	e.write(j, o)
}

// write writes down what was decided of the mail and lets go of its record.
func (e *Engine) write(j *job, o journal.Outcome) {
	j.bound.Store(true)
	j.home.ledger.owe(j.mail.Key, o, j.noted)
	done := func(offset int64, ok bool) {
		for _, d := range e.release(j, o, offset, ok) {
			if ok {
				d.Complete(offset)
			} else {
				d.Abandon()
			}
		}
		j.span.End()
	}
	if err := e.Journal.Settle(j.lease.Context(), j.mail, o, j.lease.Partition, j.lease.Alive, done); err != nil {
		e.Log.LogAttrs(j.ctx, slog.LevelError, "an outcome could not be written", slog.String("mail_id", j.mail.MailID), slog.Any("error", err))
		done(-1, false)
	}
}

// complete fills in what every outcome says.
func (e *Engine) complete(j *job, o *journal.Outcome) {
	if o.At.IsZero() {
		o.At = e.Now()
	}
	if o.Sequence == 0 {
		o.Sequence = j.tries
	}
	if o.Site == "" {
		o.Site = j.site
	}
	if o.Route == "" {
		o.Route = string(j.rule.Type)
	}
	o.PossibleDuplicate = j.doubt
	o.Traceparent = j.traceparent()
	if o.Kind == journal.Delivered {
		if j.doubt {
			e.Metrics.second(j.ctx, j.lane.Name)
		}
		o.Stage, o.Verdict = outcome.StageDot, outcome.Verdict{}
	}
}

// release takes the job out of flight and gives back its records.
func (e *Engine) release(j *job, o journal.Outcome, offset int64, ok bool) []*custody.Delivery {
	home := j.home
	j.calm()
	if ok {
		home.ledger.recall(j.lease.Partition, j.mail.Key, journal.Settled{
			Kind: o.Kind, Offset: offset, Sequence: o.Sequence, NextAt: o.NextAt, Site: o.Site, Reason: o.Reason(), Doubt: o.PossibleDuplicate,
		})
	}
	var records []*custody.Delivery
	home.ledger.end(j.mail.Key, j, func() { records = append([]*custody.Delivery{j.lease}, j.twins...) })
	return records
}

// abandon gives the mail back as it was: the next owner begins anew.
func (e *Engine) abandon(j *job) {
	j.once.Do(func() {
		for _, d := range e.release(j, journal.Outcome{}, -1, false) {
			d.Abandon()
		}
		j.span.SetStatus(codes.Error, "abandoned")
		j.span.End()
	})
}

// expire ends a mail whose time is over. last says how its last try went.
func (e *Engine) expire(j *job, last journal.Outcome) {
	last.Kind, last.At, last.NextAt = journal.Expired, e.Now(), time.Time{}
	if last.Stage == outcome.StageUnknown {
		last.Stage = outcome.StageQueue
	}
	last.Verdict.Category, last.Verdict.Hard, last.Verdict.Party = outcome.Expired, true, outcome.Receiver
	if last.Verdict.Code == "" {
		last.Verdict.Code = "4.4.7" // delivery time expired (RFC 3463 §3.5)
	}
	e.settle(j, last)
}

// failed judges a failure and does what follows from it; it answers what that
// was.
func (e *Engine) failed(j *job, o journal.Outcome, f outcome.Failure) journal.Kind {
	o.Verdict, o.Stage = outcome.Classify(f), f.Stage
	if o.Verdict.Hard {
		o.Kind = journal.Bounced
		e.settle(j, o)
		return o.Kind
	}
	return e.later(j, o)
}

// later has the mail wait for another try: here if its lane retries inline, in
// the waiting room otherwise, and not at all beyond its expiry.
func (e *Engine) later(j *job, o journal.Outcome) journal.Kind {
	now := e.Now()
	ladder := j.lane.NextDelay(int(j.mail.Tries+j.tries), nil)
	wait := o.Verdict.RetryAfter
	if wait == 0 || !now.Add(wait).Before(j.mail.ExpiresAt) {
		wait = ladder // nothing is lost by asking before its time
	}
	o.NextAt = now.Add(wait)
	if !o.NextAt.Before(j.mail.ExpiresAt) {
		e.expire(j, o)
		return journal.Expired
	}
	if !j.lane.Inline {
		o.Kind = journal.Deferred
		e.settle(j, o)
		return o.Kind
	}
	o.Kind = journal.Attempted
	e.complete(j, &o)
	e.observe(j, o)
	e.Journal.Note(j.lease.Context(), j.mail, o, j.lease.Partition)
	j.last = o
	j.calm()
	e.mu.Lock()
	e.waiting[j] = o.NextAt
	e.mu.Unlock()
	return o.Kind
}

// spare remembers that this try ended without its dot, though the journal may
// say that it was about to be sent.
func (e *Engine) spare(j *job) {
	j.home.ledger.owe(j.mail.Key, journal.Outcome{Kind: journal.Attempted, Sequence: j.tries}, j.noted)
}

// again has the mail come back here in a moment, as if it had not been tried.
func (e *Engine) again(j *job) {
	e.spare(j)
	j.calm()
	j.tries--
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting[j] = e.Now().Add(time.Second)
}

// doubt decides about a mail whose final dot was sent and whose reply never
// came: it may have been delivered or not.
func (c *carrier) doubt(j *job, o journal.Outcome, f outcome.Failure) site.Verdict {
	c.Metrics.duplicate(j.ctx, j.lane.Name)
	o.Verdict, o.Stage = outcome.Classify(f), f.Stage
	o.Reply = outcome.Reply{Text: "the connection was lost after the message was sent; it may have been delivered"}
	if j.lease.Context().Err() != nil {
		// Another owns it by now, and finds what is in the journal.
		c.complete(j, &o)
		o.Kind = journal.Attempted
		c.Journal.Note(c.life, j.mail, o, j.lease.Partition)
		c.abandon(j)
		return site.Verdict{}
	}
	if j.holds() {
		c.hold(j, o)
		return site.Verdict{Deferred: true, Error: o.Reply.Text}
	}
	if j.doubted++; j.doubted == 1 && c.Now().Before(j.mail.ExpiresAt) {
		c.complete(j, &o)
		o.Kind, o.NextAt = journal.Attempted, c.Now()
		c.observe(j, o)
		// Whoever sends the second copy must know that it is one, even if that
		// is another process.
		if _, err := c.Journal.Commit(j.lease.Context(), j.mail, o, j.lease.Partition); err != nil {
			c.Log.LogAttrs(j.ctx, slog.LevelWarn, "a doubt was not written down", slog.String("mail_id", j.mail.MailID), slog.Any("error", err))
		}
		j.doubt, j.last = true, o
		c.mu.Lock()
		c.waiting[j] = o.NextAt // at once
		c.mu.Unlock()
		return site.Verdict{Error: o.Reply.Text}
	}
	j.doubt = true
	kind := c.later(j, o)
	return site.Verdict{Deferred: kind != journal.Expired, Error: o.Reply.Text}
}

// listen has a mail wait that its last owner had at the dot: if that process
// lives, the reply may be on its way. After a session's time the record is given
// back, and comes again once what was written meanwhile is read.
func (e *Engine) listen(j *job) {
	j.calm()
	j.listens = true
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting[j] = e.Now().Add(e.cfg.Session)
}

// hold sends the mail to the waiting room for a decision.
func (e *Engine) hold(j *job, o journal.Outcome) {
	o.Kind, o.NextAt = journal.Held, time.Time{}
	e.settle(j, o)
}

// suspended sends a mail away whose site was suspended for a while.
func (e *Engine) suspended(j *job, wait time.Duration) {
	o := e.untried(j, "the site is suspended")
	o.Verdict.RetryAfter = wait
	e.later(j, o)
}

// park sends a mail to the waiting room until its site can probably take it,
// and in any case in time to try it once more.
func (e *Engine) park(j *job, turn time.Time) {
	leave, err := e.Gate.Enter(j.ctx, j.lane.Name, j.mail.Tenant)
	if err != nil {
		e.abandon(j)
		return
	}
	defer leave()
	now := e.Now()
	left := j.mail.ExpiresAt.Sub(now)
	if latest := now.Add(left - left/10); turn.After(latest) {
		turn = latest
	}
	o := e.untried(j, "waits for its turn at a slow site")
	o.Kind, o.NextAt = journal.Deferred, turn
	e.Metrics.park(j.ctx, j.lane.Name)
	e.settle(j, o)
}

// untried is the outcome of a mail that goes away without a try.
func (e *Engine) untried(j *job, why string) journal.Outcome {
	return journal.Outcome{
		At: e.Now(), Site: j.site, Stage: outcome.StageQueue, Reply: outcome.Reply{Text: why},
		Verdict: outcome.Classify(outcome.Failure{Stage: outcome.StageQueue, Cause: outcome.Crowded}),
	}
}

// observe tells logs, metrics and the trace of an outcome.
func (e *Engine) observe(j *job, o journal.Outcome) {
	e.Metrics.attempt(j.ctx, j.lane.Name, o, o.At.Sub(j.mail.AcceptedAt))
	j.span.SetAttributes(attribute.String("kurir.outcome", o.Kind.String()), attribute.String("kurir.category", o.Verdict.Category.String()))
	level := slog.LevelInfo
	if o.Kind == journal.Bounced || o.Kind == journal.Expired || o.Kind == journal.Held {
		j.span.SetStatus(codes.Error, o.Kind.String())
		level = slog.LevelWarn
	}
	e.Log.LogAttrs(j.ctx, level, "delivery attempt",
		slog.String("mail_id", j.mail.MailID), slog.String("lane", j.mail.Lane), slog.String("tenant", j.mail.Tenant),
		slog.String("recipient_domain", j.mail.Domain), slog.Uint64("attempt", uint64(j.mail.Attempt)), slog.Uint64("sequence", uint64(o.Sequence)),
		slog.String("route", o.Route), slog.String("site", o.Site), slog.String("host", o.Host), slog.String("tls", o.TLS),
		slog.String("outcome", o.Kind.String()), slog.String("stage", o.Stage.String()), slog.Int("smtp_code", o.Reply.Code),
		slog.String("category", o.Verdict.Category.String()), slog.Duration("took", o.Took), slog.Duration("elapsed", o.At.Sub(j.mail.AcceptedAt)),
	)
}
