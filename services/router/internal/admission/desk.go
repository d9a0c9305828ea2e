package admission

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/gate"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/router/internal/crowd"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
	"kurir.dev/services/router/internal/waiting"
)

// Config bounds the desk.
type Config struct {
	Rules Rules
	// MaxInFlight is how many submissions are worked on at once, MaxBytes how
	// many bytes of messages; more are refused as OVERLOADED. Lanes but the
	// lowest have some room beyond it of their own: a flood of one lane never
	// refuses those above it.
	MaxInFlight, MaxBytes int
	// Margin is the part of a caller's deadline kept for the way back: the
	// answer "the broker is slow" is given so long before it.
	Margin time.Duration
	// Landing is how long after a try a mail may still reach its lane.
	Landing time.Duration
}

// Deps are what the desk works with. Those without a word are required.
type Deps struct {
	Ledger  Ledger
	Carrier Carrier
	Finder  Finder
	Log     *slog.Logger
	Now     func() time.Time
	// Wake is told when a scheduled mail of a lane has something to be done
	// about; it must not block. Nil is told nothing.
	Wake func(lane string, at time.Time)
	// Gate is told of urgent mail in work; nil is not.
	Gate *gate.Gate
	// Crowd gives mail its band; nil gives all the ordinary one.
	Crowd *crowd.Crowd
	// Found counts what became of keys that were pending; nil does not.
	Found func(ctx context.Context, w Whereabouts)
}

// Desk takes submissions. It is safe for concurrent use; Run must run beside
// it, or confirmations pile up.
type Desk struct {
	deps    Deps
	cfg     Config
	flights flights
	slots   *slots
	landed  *landings
}

// NewDesk makes a desk.
func NewDesk(deps Deps, cfg Config) *Desk {
	if deps.Wake == nil {
		deps.Wake = func(string, time.Time) {}
	}
	if deps.Found == nil {
		deps.Found = func(context.Context, Whereabouts) {}
	}
	return &Desk{
		deps: deps, cfg: cfg,
		flights: flights{air: make(map[Key]*flight)},
		slots:   newSlots(cfg.Rules.Lanes, cfg.MaxInFlight, cfg.MaxBytes),
		landed:  newLandings(),
	}
}

// Submit takes a mail into custody. A nil error is the promise: the mail is
// durable, on its lane or in the waiting room, and will end in exactly one
// final event. Errors are faults:
//
//   - Invalid: the submission breaks a rule;
//   - Precondition IDEMPOTENCY_MISMATCH, RECIPIENT_SUPPRESSED: not taken;
//   - Conflict IDEMPOTENCY_PENDING: submit again under the mail id in Meta;
//   - Exhausted OVERLOADED, Unavailable: come back after RetryAfter.
//
// After Unavailable nothing is known to be taken; under the same key it is
// safe to try again.
func (d *Desk) Submit(ctx context.Context, s Submission) (Receipt, error) {
	dr, err := d.cfg.Rules.check(s, d.deps.Now())
	if err != nil {
		return Receipt{}, err
	}
	leave, ok := d.slots.take(dr.mail.Lane, len(dr.mail.Message))
	if !ok {
		return Receipt{}, fault.Newf(fault.Exhausted, faultv1.Reason_REASON_OVERLOADED,
			"as many submissions are in flight already as there is room for").WithRetry(time.Second)
	}
	defer leave()
	defer d.deps.Gate.Begin(dr.mail.Lane, dr.mail.Tenant)()
	if dr.key == "" {
		return d.admit(ctx, dr, nil)
	}
	return d.shared(ctx, dr)
}

// shared admits a draft that has a key, together with whoever else has it.
func (d *Desk) shared(ctx context.Context, dr draft) (Receipt, error) {
	key := Key{Tenant: dr.mail.Tenant, Value: dr.key}
	for {
		fl, leads := d.flights.join(key, dr.body)
		if leads {
			return d.lead(ctx, key, fl, dr)
		}
		if fl.body != dr.body {
			return Receipt{}, mismatch()
		}
		r, err := fl.wait(ctx)
		switch {
		case err == nil:
			r.Replayed = true
			return r, nil
		case ctx.Err() != nil:
			return Receipt{}, ctx.Err()
		case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
			// The leader gave up for reasons of its own: lead now.
		default:
			return Receipt{}, err
		}
	}
}

// lead admits a draft for all who wait for its flight, also when it panics.
func (d *Desk) lead(ctx context.Context, key Key, fl *flight, dr draft) (r Receipt, err error) {
	err = context.Canceled // what a panic leaves to the others: they try themselves
	keep := false
	defer func() { d.flights.land(key, fl, r, err, keep) }()
	// Custody on a lane is confirmed once its event is told; until then the
	// flight answers for the ledger. When the event is lost, the key stays
	// pending and the sweeper tells it again.
	told := func(ok bool) {
		if ok {
			d.landed.add(key)
		} else {
			d.flights.clear([]Key{key})
		}
	}
	var landing bool
	r, err = d.admit(ctx, dr, func() func(bool) { landing = true; return told })
	keep = err == nil && landing
	return r, err
}

// admit enters a draft into the ledger and brings it where it belongs. landing
// gives who is told once the event of a mail on its lane is told; nil for none.
func (d *Desk) admit(ctx context.Context, dr draft, landing func() func(told bool)) (Receipt, error) {
	e := Entry{
		Key: Key{Tenant: dr.mail.Tenant, Value: dr.key}, Fingerprint: dr.body,
		Recipient: dr.mail.Key, Kind: dr.mail.Kind, Urgent: dr.urgent, Receipt: dr.receipt(),
	}
	if e.Receipt.Scheduled() {
		sealed, err := d.deps.Carrier.Seal(ctx, dr.mail)
		if err != nil {
			return Receipt{}, fmt.Errorf("sealing: %w", err)
		}
		e.Waits = waits(dr, sealed)
	}
	seat := &crowd.Seat{}
	if e.Waits == nil {
		seat = d.deps.Crowd.Choose(dr.mail.Lane, dr.mail.Tenant)
		defer seat.Leave()
	}
	e.Band = seat.Band()
	verdict, err := d.ask(ctx, e)
	switch {
	case err != nil:
		return Receipt{}, err
	case verdict.Prior != nil:
		return d.again(ctx, dr, *verdict.Prior, landing)
	case verdict.Suppressed != suppression.None:
		return Receipt{}, fault.Newf(fault.Precondition, faultv1.Reason_REASON_RECIPIENT_SUPPRESSED,
			"recipient is suppressed: %s", verdict.Suppressed)
	case e.Waits != nil:
		d.deps.Wake(e.Waits.Lane, e.Waits.WakeAt())
		return e.Receipt, nil
	}
	return d.publish(ctx, dr.mail, seat, e.Receipt, landing)
}

// again answers a submission whose key is taken. One that is pending is looked
// for on its lane first: however long ago it was put there, and whoever died
// since, it is not put there twice.
func (d *Desk) again(ctx context.Context, dr draft, p Prior, landing func() func(told bool)) (Receipt, error) {
	switch {
	case p.Fingerprint != dr.body:
		return Receipt{}, mismatch()
	case !p.Pending:
		p.Receipt.Replayed = true
		return p.Receipt, nil
	}
	now, where := d.deps.Now(), Nowhere
	if !p.Absent {
		f, err := d.find(ctx, p)
		if err != nil {
			return Receipt{}, err
		}
		where = f.Where
		d.deps.Found(ctx, where)
		if where == There {
			p.Receipt.Replayed = true
			d.accepted(ctx, f.Mail, p.Receipt, landing)
			return p.Receipt, nil
		}
	}
	if p.Receipt.MailID != dr.mail.ID {
		return Receipt{}, fault.Newf(fault.Conflict, faultv1.Reason_REASON_IDEMPOTENCY_PENDING,
			"an earlier submission under this key did not finish; submit again under its mail id").
			WithMeta("mail_id", p.Receipt.MailID)
	}
	// What the last tries may still bring is looked for as well next time.
	tried := Span{From: now, To: now}
	if !p.Absent && p.Tried.To.Add(d.cfg.Landing).After(now) {
		tried.From = p.Tried.From
	}
	if err := d.note(ctx, Key{Tenant: dr.mail.Tenant, Value: dr.key}, tried); err != nil {
		return Receipt{}, err
	}
	m := dr.mail
	m.Lane, m.AcceptedAt, m.ExpiresAt = p.Receipt.Lane, p.Receipt.AcceptedAt, p.Receipt.ExpiresAt
	if where == Untold {
		m.Doubtful = true
		d.deps.Log.WarnContext(ctx, "mail of a pending key may go out twice: the log of its time is gone",
			slog.String("mail_id", m.ID), slog.Time("accepted_at", m.AcceptedAt))
	}
	seat := d.deps.Crowd.Keep(m.Lane, m.Tenant, p.Band)
	defer seat.Leave()
	return d.publish(ctx, m, seat, p.Receipt, landing)
}

// find looks for the mail of a pending key.
func (d *Desk) find(ctx context.Context, p Prior) (Finding, error) {
	ctx, cancel := d.within(ctx)
	defer cancel()
	span := Span{From: p.Tried.From, To: p.Tried.To.Add(d.cfg.Landing)}
	f, err := d.deps.Finder.Find(ctx, p, span)
	if err != nil {
		return f, d.unavailable(ctx, faultv1.Reason_REASON_BROKER_UNAVAILABLE, "the broker did not tell in time whether the mail is there", err)
	}
	return f, nil
}

// note notes one more try of a key.
func (d *Desk) note(ctx context.Context, key Key, tried Span) error {
	ctx, cancel := d.within(ctx)
	defer cancel()
	if err := d.deps.Ledger.Retry(ctx, key, tried); err != nil {
		return d.unavailable(ctx, faultv1.Reason_REASON_STORE_UNAVAILABLE, "the store did not answer in time", err)
	}
	return nil
}

// publish puts a mail onto its lane.
func (d *Desk) publish(ctx context.Context, m mail.Mail, s *crowd.Seat, r Receipt, landing func() func(told bool)) (Receipt, error) {
	ctx, cancel := d.within(ctx)
	defer cancel()
	if err := d.deps.Carrier.Publish(ctx, m, s); err != nil {
		return Receipt{}, d.unavailable(ctx, faultv1.Reason_REASON_BROKER_UNAVAILABLE, "the broker did not acknowledge in time", err)
	}
	d.accepted(ctx, m, r, landing)
	return r, nil
}

// accepted has the event of a mail on its lane told.
func (d *Desk) accepted(ctx context.Context, m mail.Mail, r Receipt, landing func() func(told bool)) {
	var told func(bool)
	if landing != nil {
		told = landing()
	}
	d.deps.Carrier.Accepted(ctx, m, r, told)
}

// ask puts an entry to the ledger.
func (d *Desk) ask(ctx context.Context, e Entry) (Verdict, error) {
	ctx, cancel := d.within(ctx)
	defer cancel()
	v, err := d.deps.Ledger.Admit(ctx, e)
	if err != nil {
		return Verdict{}, d.unavailable(ctx, faultv1.Reason_REASON_STORE_UNAVAILABLE, "the store did not answer in time", err)
	}
	return v, nil
}

// within shaves the margin off the caller's deadline, so that there is time to
// say what did not answer.
func (d *Desk) within(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-d.cfg.Margin))
}

// unavailable is what a caller is told when a peer failed: a fault stays what
// it is, the caller's own cancelling too, anything else is Unavailable.
func (d *Desk) unavailable(ctx context.Context, reason faultv1.Reason, msg string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) && known.Kind != fault.Internal {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return fault.Newf(fault.Unavailable, reason, "%s", msg).WithRetry(time.Second).WithCause(err)
}

// waits is the waiting-room form of a scheduled draft.
func waits(dr draft, sealed []byte) *waiting.Mail {
	m := dr.mail
	return &waiting.Mail{
		ID: m.ID, Tenant: m.Tenant, Lane: m.Lane, Kind: m.Kind, Domain: m.Domain,
		Invoice: m.Facts.Invoice, Template: m.Facts.Template, Recipient: m.Key,
		Attempt: m.Attempt, State: waiting.Scheduled, Reason: "scheduled", Tell: waiting.TellScheduled,
		Hint: mail.Hint(m.Recipient), DueAt: dr.sendAt, ExpiresAt: m.ExpiresAt, Envelope: sealed,
	}
}

func mismatch() error {
	return fault.Newf(fault.Precondition, faultv1.Reason_REASON_IDEMPOTENCY_MISMATCH,
		"the idempotency key was used before with another body")
}
