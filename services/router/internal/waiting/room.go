package waiting

import (
	"context"
	"time"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// Desk is what the room asks of the store on behalf of people. Each verb works
// through its scope in bounded steps, so that hot writes pass between them.
type Desk interface {
	// Cancel moves what waits to Settling with the ending Cancelled and
	// counts it.
	Cancel(ctx context.Context, s Scope, reason string, now time.Time) (int64, error)
	// Hold holds what waits and counts it; until zero holds without an end.
	Hold(ctx context.Context, s Scope, reason string, until, now time.Time) (int64, error)
	// Decide lets held mail go when ending is zero, and else moves it to
	// Settling with that ending; what is not held it passes over. It counts.
	Decide(ctx context.Context, s Scope, ending Ending, reason string, now time.Time) (int64, error)
	// Release makes what waits due now and counts it.
	Release(ctx context.Context, s Scope, now time.Time) (int64, error)
	// List lists what is in the room by due time, after the cursor.
	List(ctx context.Context, s Scope, after Cursor, limit int) ([]Mail, error)
	// Known tells whether a mail of the tenant (empty: of any) was ever heard
	// of: it waits, left, or was accepted within the idempotency window.
	Known(ctx context.Context, tenant, id string) (bool, error)
}

// Cursor is a place in a listing; zero is the beginning.
type Cursor struct {
	DueAt time.Time
	ID    string
}

// Room is the waiting room as people see it. It is safe for concurrent use.
type Room struct {
	desk  Desk
	nudge func()
	now   func() time.Time
}

// NewRoom makes the room over its store; nudge is called when something became
// due, and must not block.
func NewRoom(desk Desk, nudge func(), now func() time.Time) *Room {
	return &Room{desk: desk, nudge: nudge, now: now}
}

// Cancel decides that the waiting mail of a scope ends CANCELLED and tells how
// many. The decision is durable on return, the final events follow.
//
// A scope of one mail that does not wait is an error: Precondition
// MAIL_SETTLED when the mail is known (it went to its lane or ended), NotFound
// MAIL_UNKNOWN when nothing is known of it. A mail without an idempotency key
// that never waited leaves no trace here and counts as unknown.
func (r *Room) Cancel(ctx context.Context, s Scope, reason string) (int64, error) {
	if err := s.Narrow(); err != nil {
		return 0, err
	}
	n, err := r.desk.Cancel(ctx, s, reason, r.now())
	return r.done(ctx, s, n, err)
}

// Hold keeps the waiting mail of a scope from leaving and tells how many; with
// until zero until it is released or expires. Errors as for Cancel.
func (r *Room) Hold(ctx context.Context, s Scope, reason string, until time.Time) (int64, error) {
	if err := s.Narrow(); err != nil {
		return 0, err
	}
	if !until.IsZero() && !until.After(r.now()) {
		return 0, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "until", "lies in the past")
	}
	n, err := r.desk.Hold(ctx, s, reason, until, r.now())
	return r.done(ctx, s, n, err)
}

// Release makes the waiting mail of a scope due, held or not, and tells how
// many. Errors as for Cancel.
func (r *Room) Release(ctx context.Context, s Scope) (int64, error) {
	if err := s.Narrow(); err != nil {
		return 0, err
	}
	n, err := r.desk.Release(ctx, s, r.now())
	return r.done(ctx, s, n, err)
}

// Decide ends the hold of held mail: with a zero ending it goes to its lane,
// marked as a possible duplicate when it was in doubt; else it comes to that
// ending. Mail of the scope that is not held is passed over. It tells how many;
// errors as for Cancel.
func (r *Room) Decide(ctx context.Context, s Scope, ending Ending, reason string) (int64, error) {
	if err := s.Narrow(); err != nil {
		return 0, err
	}
	s.Held = true
	n, err := r.desk.Decide(ctx, s, ending, reason, r.now())
	return r.done(ctx, s, n, err)
}

// List lists waiting mail, the earliest due first, beginning after a cursor.
func (r *Room) List(ctx context.Context, s Scope, after Cursor, limit int) ([]Mail, error) {
	return r.desk.List(ctx, s, after, limit)
}

// done nudges the releaser, or explains why a verb about one mail did nothing.
func (r *Room) done(ctx context.Context, s Scope, n int64, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	if n > 0 {
		r.nudge()
		return n, nil
	}
	if len(s.IDs) != 1 {
		return 0, nil
	}
	known, err := r.desk.Known(ctx, s.Tenant, s.IDs[0])
	switch {
	case err != nil:
		return 0, err
	case known && s.Held:
		return 0, fault.Newf(fault.Precondition, faultv1.Reason_REASON_MAIL_SETTLED, "mail is not held")
	case known:
		return 0, fault.Newf(fault.Precondition, faultv1.Reason_REASON_MAIL_SETTLED, "mail does not wait any more")
	}
	return 0, fault.Newf(fault.NotFound, faultv1.Reason_REASON_MAIL_UNKNOWN, "no such mail")
}
