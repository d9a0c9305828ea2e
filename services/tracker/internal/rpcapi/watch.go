package rpcapi

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/wire"
)

// watchPage is how many events a stream reads at a time; it holds no more.
const watchPage = 200

// WatchEvents streams events as they are stored. The stream's header is sent
// when its place is fixed: whatever is stored from then on will come. A stream
// reads the store from its own position, so a slow one costs nothing and misses
// nothing.
func (s *Server) WatchEvents(req *trackerv1.WatchEventsRequest, stream grpc.ServerStreamingServer[trackerv1.WatchEventsResponse]) error {
	ctx := stream.Context()
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return err
	}
	if err := clean(map[string]string{"campaign": req.GetCampaign()}); err != nil {
		return err
	}
	defer s.watchers.Add(-1)
	if s.watchers.Add(1) > int64(s.cfg.MaxWatch) {
		return fault.Newf(fault.Exhausted, faultv1.Reason_REASON_OVERLOADED, "too many streams are open").WithRetry(5 * time.Second)
	}
	at, err := s.position(ctx, req.GetAfter())
	if err != nil {
		return err
	}
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	f := store.EventFilter{MailIDs: req.GetMailIds(), Campaign: req.GetCampaign()}
	for _, t := range req.GetTypes() {
		f.Types = append(f.Types, mail.Type(t))
	}
	var poll <-chan time.Time
	if s.cfg.Poll > 0 {
		tick := time.NewTicker(s.cfg.Poll)
		defer tick.Stop()
		poll = tick.C
	}
	for {
		news := s.deps.Hub.News()
		page, err := s.deps.Store.EventsAfter(ctx, rpc.Tenant(ctx), f, at, watchPage)
		if err != nil {
			return s.storeFault(ctx, err)
		}
		if err := send(stream, page.Events); err != nil {
			return err
		}
		at = page.Next
		if len(page.Events) == watchPage {
			news = nil // there is more: go on at once
		}
		if err := s.wait(ctx, news, poll); err != nil {
			return err
		}
	}
}

// wait waits for news; nil news are there already.
func (s *Server) wait(ctx context.Context, news <-chan struct{}, poll <-chan time.Time) error {
	if news == nil {
		closed := make(chan struct{})
		close(closed)
		news = closed
	}
	select {
	case <-s.deps.Hub.Closed():
		return fault.Newf(fault.Unavailable, faultv1.Reason_REASON_NOT_READY, "the tracker stops").WithRetry(time.Second)
	case <-ctx.Done():
		return ctx.Err()
	case <-news:
	case <-poll:
	}
	return nil
}

func send(stream grpc.ServerStreamingServer[trackerv1.WatchEventsResponse], events []mail.Event) error {
	for _, e := range events {
		ev, err := wire.Answer(e)
		if err != nil {
			return err
		}
		if err := stream.Send(&trackerv1.WatchEventsResponse{Event: ev, Position: strconv.FormatInt(e.Position, 10)}); err != nil {
			return err
		}
	}
	return nil
}

// position is where a stream starts: after the position asked for, or with what
// comes from now on.
func (s *Server) position(ctx context.Context, after string) (int64, error) {
	if after == "" {
		head, err := s.deps.Store.Head(ctx)
		if err != nil {
			return 0, s.storeFault(ctx, err)
		}
		return head, nil
	}
	at, err := strconv.ParseInt(after, 10, 64)
	if err != nil || at < 0 {
		return 0, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "after", "is no position of ours")
	}
	return at, nil
}
