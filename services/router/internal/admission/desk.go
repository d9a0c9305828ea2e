package admission

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kurir.dev/kit/backoff"
	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
	"kurir.dev/services/router/internal/waiting"
)

// Config bounds the desk.
type Config struct {
	Rules Rules
	// MaxInFlight is how many submissions are worked on at once; more are
	// refused as OVERLOADED. An eighth as many again are kept for the highest
	// lane, so that a flood of the others never refuses it.
	MaxInFlight int
	// Margin is the part of a caller's deadline kept for the way back: the
	// answer "the broker is slow" is given so long before it.
	Margin time.Duration
}

// Deps are what the desk works with. All but Wake are required.
type Deps struct {
	Ledger  Ledger
	Carrier Carrier
	Log     *slog.Logger
	Now     func() time.Time
	// Wake is told when a scheduled mail is due; it must not block.
	Wake func(at time.Time)
}

// confirmBatch is how many keys are confirmed in one call.
const confirmBatch = 512

// Desk takes submissions. It is safe for concurrent use; Run must run beside
// it, or confirmations pile up and submissions stop.
type Desk struct {
	deps    Deps
	cfg     Config
	flights flights
	slots   chan struct{}
	kept    chan struct{} // slots of the highest lane alone
	landed  chan Key
}

// NewDesk makes a desk.
func NewDesk(deps Deps, cfg Config) *Desk {
	if deps.Wake == nil {
		deps.Wake = func(time.Time) {}
	}
	return &Desk{
		deps: deps, cfg: cfg,
		flights: flights{air: make(map[Key]*flight)},
		slots:   make(chan struct{}, cfg.MaxInFlight),
		kept:    make(chan struct{}, max(1, cfg.MaxInFlight/8)),
		landed:  make(chan Key, cfg.MaxInFlight),
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
	slot, ok := d.slot(dr.urgent)
	if !ok {
		return Receipt{}, fault.Newf(fault.Exhausted, faultv1.Reason_REASON_OVERLOADED,
			"%d submissions are in flight already", d.cfg.MaxInFlight).WithRetry(time.Second)
	}
	defer func() { <-slot }()
	if dr.key == "" {
		return d.admit(ctx, dr)
	}
	return d.shared(ctx, dr)
}

// slot takes a place among the submissions in flight; receiving from what it
// answers gives the place back.
func (d *Desk) slot(urgent bool) (<-chan struct{}, bool) {
	select {
	case d.slots <- struct{}{}:
		return d.slots, true
	default:
	}
	if !urgent {
		return nil, false
	}
	select {
	case d.kept <- struct{}{}:
		return d.kept, true
	default:
		return nil, false
	}
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
	r, err = d.admit(ctx, dr)
	// Custody on a lane is confirmed later; until then the flight answers for
	// the ledger.
	keep = err == nil && !r.Scheduled() && !r.Replayed
	if keep {
		select {
		case d.landed <- key:
		case <-ctx.Done(): // the key stays pending and costs a replay one more round
			keep = false
		}
	}
	return r, err
}

// admit enters a draft into the ledger and brings it where it belongs.
func (d *Desk) admit(ctx context.Context, dr draft) (Receipt, error) {
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
	verdict, err := d.ask(ctx, e)
	switch {
	case err != nil:
		return Receipt{}, err
	case verdict.Prior != nil:
		return d.again(ctx, dr, *verdict.Prior)
	case verdict.Suppressed != suppression.None:
		return Receipt{}, fault.Newf(fault.Precondition, faultv1.Reason_REASON_RECIPIENT_SUPPRESSED,
			"recipient is suppressed: %s", verdict.Suppressed)
	case e.Waits != nil:
		d.deps.Carrier.Accepted(ctx, dr.mail, e.Receipt)
		d.deps.Wake(e.Waits.WakeAt())
		return e.Receipt, nil
	}
	return d.publish(ctx, dr.mail, e.Receipt)
}

// again answers a submission whose key is taken.
func (d *Desk) again(ctx context.Context, dr draft, p Prior) (Receipt, error) {
	switch {
	case p.Fingerprint != dr.body:
		return Receipt{}, mismatch()
	case !p.Pending:
		p.Receipt.Replayed = true
		return p.Receipt, nil
	case p.Receipt.MailID != dr.mail.ID:
		return Receipt{}, fault.Newf(fault.Conflict, faultv1.Reason_REASON_IDEMPOTENCY_PENDING,
			"an earlier submission under this key did not finish; submit again under its mail id").
			WithMeta("mail_id", p.Receipt.MailID)
	}
	m := dr.mail
	m.Lane, m.AcceptedAt, m.ExpiresAt = p.Receipt.Lane, p.Receipt.AcceptedAt, p.Receipt.ExpiresAt
	return d.publish(ctx, m, p.Receipt)
}

// publish puts a mail onto its lane.
func (d *Desk) publish(ctx context.Context, m mail.Mail, r Receipt) (Receipt, error) {
	ctx, cancel := d.within(ctx)
	defer cancel()
	if err := d.deps.Carrier.Publish(ctx, m); err != nil {
		return Receipt{}, d.unavailable(ctx, faultv1.Reason_REASON_BROKER_UNAVAILABLE, "the broker did not acknowledge in time", err)
	}
	d.deps.Carrier.Accepted(ctx, m, r)
	return r, nil
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

// Run confirms the keys of mail that reached its lane, until ctx ends and no
// submission is in flight any more; callers stop submitting before they end it.
// A store that does not answer is asked again with a growing pause.
func (d *Desk) Run(ctx context.Context) error {
	for {
		select {
		case k := <-d.landed:
			d.confirm(ctx, d.gather(k))
		case <-ctx.Done():
			for {
				select {
				case k := <-d.landed:
					d.confirm(ctx, d.gather(k))
				default:
					return nil
				}
			}
		}
	}
}

// gather takes what else has landed meanwhile.
func (d *Desk) gather(first Key) []Key {
	keys := []Key{first}
	for len(keys) < confirmBatch {
		select {
		case k := <-d.landed:
			keys = append(keys, k)
		default:
			return keys
		}
	}
	return keys
}

// confirm confirms keys and clears their flights. Once ctx has ended it tries
// once: a key that stays pending costs its caller one more round, no mail.
func (d *Desk) confirm(ctx context.Context, keys []Key) {
	failed := func(n int, err error) {
		d.deps.Log.WarnContext(ctx, "keys could not be confirmed", slog.Any("error", err), slog.Int("attempt", n))
	}
	try := func(ctx context.Context, _ int) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return d.deps.Ledger.Confirm(ctx, keys)
	}
	if err := try(ctx, 1); err != nil {
		failed(1, err)
		_ = backoff.Policy{Base: 200 * time.Millisecond}.Retry(ctx, try, failed) // ends with ctx at the latest
	}
	d.flights.clear(keys)
}

// waits is the waiting-room form of a scheduled draft.
func waits(dr draft, sealed []byte) *waiting.Mail {
	m := dr.mail
	return &waiting.Mail{
		ID: m.ID, Tenant: m.Tenant, Lane: m.Lane, Kind: m.Kind, Domain: m.Domain,
		Invoice: m.Facts.Invoice, Template: m.Facts.Template, Recipient: m.Key,
		Attempt: m.Attempt, State: waiting.Scheduled, Reason: "scheduled",
		DueAt: dr.sendAt, ExpiresAt: m.ExpiresAt, Envelope: sealed,
	}
}

func mismatch() error {
	return fault.Newf(fault.Precondition, faultv1.Reason_REASON_IDEMPOTENCY_MISMATCH,
		"the idempotency key was used before with another body")
}
