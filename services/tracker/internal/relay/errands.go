package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/backoff"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/wire"
)

const (
	// patience is how long an errand is tried before it is given up.
	patience = 7 * 24 * time.Hour
	// callTimeout bounds one call of the router.
	callTimeout = 5 * time.Second
)

// ErrandStore holds the errands; the tracker's store is one.
type ErrandStore interface {
	ClaimErrands(ctx context.Context, now, until time.Time, limit int) ([]store.Errand, error)
	PutOff(ctx context.Context, id int64, due time.Time) error
	Done(ctx context.Context, e store.Errand, cancelled int64) error
	Mail(ctx context.Context, tenant, id string) (mail.Mail, error)
}

// Errands calls the router; make it with NewErrands.
type Errands struct {
	log    *slog.Logger
	store  ErrandStore
	router routerv1.RouterServiceClient
	now    func() time.Time
	wake   chan struct{}
}

// NewErrands makes the relay of the errands. Without a router errands stay in
// the store, for a tracker that has one.
func NewErrands(t *telemetry.Telemetry, s ErrandStore, router routerv1.RouterServiceClient, now func() time.Time) *Errands {
	return &Errands{log: t.Log, store: s, router: router, now: now, wake: make(chan struct{}, 1)}
}

// Kick tells that there are errands; it never blocks.
func (r *Errands) Kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Part runs errands from Start to Stop; what is left stays in the store.
func (r *Errands) Part() app.Part {
	if r.router == nil {
		return app.Part{Name: "errands"}
	}
	return app.Loop("errands", r.run)
}

func (r *Errands) run(ctx context.Context) error {
	tick := time.NewTicker(idle)
	defer tick.Stop()
	for {
		now := r.now()
		errands, err := r.store.ClaimErrands(ctx, now, now.Add(claim), many)
		if err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "errands not claimed, trying again", slog.Any("error", err))
		}
		for _, e := range errands {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if _, err := r.Do(ctx, e); err != nil {
				r.log.WarnContext(ctx, "errand failed, trying again", slog.String("kind", string(e.Kind)),
					slog.Int("attempt", e.Attempts), slog.Any("error", err))
			}
		}
		if len(errands) == many {
			continue
		}
		select {
		case <-r.wake:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Do runs one errand and settles it: done, given up, or put off. It returns how
// many reminders it cancelled, and the error that puts it off.
func (r *Errands) Do(ctx context.Context, e store.Errand) (int64, error) {
	if r.router == nil {
		return 0, nil
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	cancelled, err := r.call(call, e)
	cancel()
	settle := context.WithoutCancel(ctx) // what the router did must be noted
	switch {
	case err == nil:
		return cancelled, r.store.Done(settle, e, cancelled)
	case errors.Is(err, fault.Invalid), r.now().Sub(e.Since) > patience:
		r.log.ErrorContext(ctx, "errand given up", slog.String("kind", string(e.Kind)), slog.Any("error", err))
		return 0, r.store.Done(settle, e, 0)
	}
	wait := backoff.Policy{Base: time.Second, Max: 5 * time.Minute}.Delay(e.Attempts+1, nil)
	return 0, errors.Join(err, r.store.PutOff(settle, e.ID, r.now().Add(wait)))
}

func (r *Errands) call(ctx context.Context, e store.Errand) (int64, error) {
	ctx = rpc.WithTenant(ctx, e.Tenant)
	if e.Kind == store.CancelReminders {
		res, err := r.router.Cancel(ctx, &routerv1.CancelRequest{
			Scope:  &routerv1.Scope{Tenant: e.Tenant, InvoiceId: e.Subject, Kind: mailv1.Kind_KIND_REMINDER},
			Reason: "invoice settled",
		})
		return res.GetCancelled(), err
	}
	m, err := r.store.Mail(ctx, e.Tenant, e.Subject)
	if err != nil {
		return 0, fmt.Errorf("looking for the mail that was unsubscribed from: %w", err)
	}
	facts, err := wire.AnswerFacts(m.Facts)
	if err != nil {
		return 0, err
	}
	if facts.GetRecipient() == "" {
		return 0, fmt.Errorf("the mail that was unsubscribed from: %w", store.ErrUnknown)
	}
	_, err = r.router.AddSuppression(ctx, &routerv1.AddSuppressionRequest{Suppression: &routerv1.Suppression{
		Tenant: e.Tenant, Address: facts.GetRecipient(), Cause: routerv1.SuppressionCause_SUPPRESSION_CAUSE_UNSUBSCRIBE,
		Note: "unsubscribed by the link of mail " + e.Subject,
	}})
	return 0, err
}
