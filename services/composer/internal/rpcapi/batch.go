package rpcapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// batchItem is one item as received; err says why it is not valid.
type batchItem struct {
	req *mailv1.SendBatchRequest
	err error
}

// SendBatch answers each item as soon as the router did, in any order. A bad
// item is answered and the others go on. At most inFlight are worked on; when
// they wait for the router, or for a caller who does not read answers, nothing
// more is received: memory does not grow with the batch.
func (s *Server) SendBatch(stream grpc.BidiStreamingServer[mailv1.SendBatchRequest, mailv1.SendBatchResponse]) error {
	if err := rpc.Require(stream.Context(), rpc.ScopeSend); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(stream.Context())
	to := newRouterStream(ctx, s.router)
	items := make(chan batchItem)
	group.Go(func() error {
		defer close(items)
		return receive(ctx, stream, items)
	})
	workers, working := errgroup.WithContext(ctx)
	var sending sync.Mutex
	for range s.inFlight {
		workers.Go(func() error {
			for item := range items {
				resp := s.answer(working, to, item)
				sending.Lock()
				err := stream.Send(resp)
				sending.Unlock()
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		err := workers.Wait()
		to.close()
		return err
	})
	return group.Wait()
}

// receive passes on what comes in until the caller ends it.
func receive(ctx context.Context, stream grpc.ServerStream, items chan<- batchItem) error {
	for {
		item := batchItem{req: new(mailv1.SendBatchRequest)}
		err := stream.RecvMsg(item.req)
		var f *fault.Error
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &f) && f.Kind == fault.Invalid:
			item.err = unprefixed(f) // this item alone breaks its constraints
		case err != nil:
			return err
		}
		select {
		case items <- item:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answer sends one item.
func (s *Server) answer(ctx context.Context, to *routerStream, item batchItem) *mailv1.SendBatchResponse {
	out := &mailv1.SendBatchResponse{Reference: item.req.GetReference()}
	receipt, err := s.guarded(ctx, to, item)
	if err == nil {
		out.Result = &mailv1.SendBatchResponse_Receipt{Receipt: receipt}
		return out
	}
	if fault.KindOf(err) == fault.Internal && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		s.log.ErrorContext(ctx, "internal error in a batch", slog.Any("error", err))
	}
	out.Result = &mailv1.SendBatchResponse_Error{Error: rpc.StatusIn(Domain, err).Proto()}
	return out
}

// guarded is send with the recovery that interceptors give to calls.
func (s *Server) guarded(ctx context.Context, to *routerStream, item batchItem) (receipt *mailv1.Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	req, what := decodeItem(item.req)
	switch {
	case req == nil && item.err == nil:
		return nil, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "item", "must be given")
	case req == nil:
		return nil, item.err
	case item.err != nil:
		r, bad := decode(rpc.Tenant(ctx), req, what)
		return nil, fault.Join(s.composer.Check(r), bad, item.err)
	}
	return s.send(ctx, to, req, what)
}

// unprefixed names the fields of a broken item as a call of its own would:
// "otp.code" is "code".
func unprefixed(f *fault.Error) error {
	out := *f
	out.Fields = make([]fault.Field, len(f.Fields))
	cut := func(s string) string {
		for _, prefix := range []string{"otp.", "bill.", "reminder.", "mail."} {
			if rest, ok := strings.CutPrefix(s, prefix); ok {
				return rest
			}
		}
		return s
	}
	for i, field := range f.Fields {
		out.Fields[i] = fault.Field{Name: cut(field.Name), Description: field.Description}
	}
	out.Msg = cut(f.Msg)
	return &out
}
