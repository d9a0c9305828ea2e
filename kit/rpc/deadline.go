package rpc

import (
	"context"
	"time"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// The budget of a call. A callee that used the caller's whole deadline could not
// tell it which step took the time: the caller gives up at the same moment. So
// each hop keeps a little back, and refuses at once what cannot succeed.
const (
	shave    = 20 * time.Millisecond
	leastRun = 100 * time.Millisecond
)

// budget returns ctx with the deadline of the work under it. A call without
// deadline gets fallback, or none if fallback is zero.
func budget(ctx context.Context, now time.Time, fallback time.Duration) (context.Context, context.CancelFunc, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		if fallback <= 0 {
			return ctx, func() {}, nil
		}
		ctx, cancel := context.WithDeadline(ctx, now.Add(fallback))
		return ctx, cancel, nil
	}
	if left := deadline.Sub(now); left < leastRun {
		return nil, nil, fault.Newf(fault.Unavailable, faultv1.Reason_REASON_DEADLINE_TOO_SHORT,
			"%v left until the deadline, at least %v are needed", max(left, 0).Round(time.Millisecond), leastRun)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-shave))
	return ctx, cancel, nil
}
