package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// stall is how long the demonstration waits for the next final event before
// it calls what is missing lost.
const stall = 90 * time.Second

// ledger follows every accepted mail to its final event. It is safe for
// concurrent use.
type ledger struct {
	mu       sync.Mutex
	accepted map[string]string // mail id to recipient
	finals   map[string]eventsv1.EventType
	changed  chan struct{} // closed and replaced at each final event
}

func newLedger() *ledger {
	return &ledger{accepted: map[string]string{}, finals: map[string]eventsv1.EventType{}, changed: make(chan struct{})}
}

// accept notes that the mail is in custody.
func (l *ledger) accept(mailID, recipient string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted[mailID] = recipient
}

// follow reads final events from tracker until ctx is done.
func (l *ledger) follow(ctx context.Context, tracker trackerv1.TrackerServiceClient) error {
	stream, err := tracker.WatchEvents(ctx, &trackerv1.WatchEventsRequest{After: "0", Types: []eventsv1.EventType{
		eventsv1.EventType_EVENT_TYPE_DELIVERED, eventsv1.EventType_EVENT_TYPE_BOUNCED, eventsv1.EventType_EVENT_TYPE_EXPIRED,
		eventsv1.EventType_EVENT_TYPE_CANCELLED, eventsv1.EventType_EVENT_TYPE_SUPPRESSED,
	}})
	if err != nil {
		return fmt.Errorf("watching events: %w", err)
	}
	for {
		res, err := stream.Recv()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
				return nil //nolint:nilerr // the demonstration is over, or the mesh
			}
			return fmt.Errorf("watching events: %w", err)
		}
		l.mu.Lock()
		l.finals[res.GetEvent().GetMailId()] = res.GetEvent().GetType()
		close(l.changed)
		l.changed = make(chan struct{})
		l.mu.Unlock()
	}
}

// wait returns once every accepted mail has its final event, or no event came
// for the stall time, or ctx is done.
func (l *ledger) wait(ctx context.Context) error {
	timer := time.NewTimer(stall)
	defer timer.Stop()
	for {
		l.mu.Lock()
		missing, changed := l.missing(), l.changed
		l.mu.Unlock()
		if missing == 0 {
			return nil
		}
		timer.Reset(stall)
		select {
		case <-changed:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// missing counts accepted mails without a final event; l.mu is held.
func (l *ledger) missing() int {
	n := 0
	for id := range l.accepted {
		if _, ok := l.finals[id]; !ok {
			n++
		}
	}
	return n
}

// verdict sets the counts of r: a mail is lost when it has no final event, or
// one that says DELIVERED while no server took it.
func (l *ledger) verdict(r *Result, a *arrivals) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Accepted = len(l.accepted)
	for id, recipient := range l.accepted {
		final, ok := l.finals[id]
		switch {
		case !ok:
			r.Lost++
		case final != eventsv1.EventType_EVENT_TYPE_DELIVERED:
		case !a.arrived(recipient):
			r.Lost++
		default:
			r.Delivered++
		}
	}
	_, r.Duplicates, _ = a.counts()
}
