package rpcapi

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/wire"
)

// Submit implements routerv1.RouterServiceServer.
func (s *Server) Submit(ctx context.Context, req *routerv1.SubmitRequest) (*routerv1.SubmitResponse, error) {
	r, err := s.submit(ctx, req.GetSubmission())
	if err != nil {
		return nil, err
	}
	return &routerv1.SubmitResponse{Receipt: receipt(r)}, nil
}

// SubmitStream implements routerv1.RouterServiceServer. Items are worked on
// side by side and answered as they end; when the window is full, the stream
// is not read. An item's fault is its answer, not the stream's end. A server
// that stops answers what it has begun and ends the stream as Unavailable: what
// was not answered is to be sent again.
func (s *Server) SubmitStream(stream grpc.BidiStreamingServer[routerv1.SubmitStreamRequest, routerv1.SubmitStreamResponse]) error {
	g, ctx := errgroup.WithContext(stream.Context())
	g.SetLimit(s.deps.StreamWindow)
	items := s.read(ctx, stream)
	var sending sync.Mutex
	for {
		select {
		case it := <-items:
			if it.err != nil {
				if errors.Is(it.err, io.EOF) {
					it.err = nil
				}
				return errors.Join(g.Wait(), it.err)
			}
			g.Go(func() error {
				resp := s.item(ctx, it.req)
				sending.Lock()
				defer sending.Unlock()
				return stream.Send(resp)
			})
		case <-ctx.Done():
			return errors.Join(g.Wait(), stream.Context().Err())
		case <-s.stopping:
			return errors.Join(g.Wait(), fault.Newf(fault.Unavailable, faultv1.Reason_REASON_NOT_READY,
				"the router is stopping; send again what was not answered").WithRetry(time.Second))
		}
	}
}

// received is one item of a stream, or why there is none.
type received struct {
	req *routerv1.SubmitStreamRequest
	err error
}

// read reads a stream until it ends, which it does with its handler at the
// latest.
func (s *Server) read(
	ctx context.Context, stream grpc.BidiStreamingServer[routerv1.SubmitStreamRequest, routerv1.SubmitStreamResponse],
) <-chan received {
	items := make(chan received)
	s.readers.Go(func() {
		for {
			req, err := stream.Recv()
			select {
			case items <- received{req: req, err: err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	return items
}

// item submits one item of a stream.
func (s *Server) item(ctx context.Context, req *routerv1.SubmitStreamRequest) *routerv1.SubmitStreamResponse {
	ctx, cancel := context.WithTimeout(ctx, s.deps.ItemTimeout)
	defer cancel()
	resp := &routerv1.SubmitStreamResponse{Reference: req.GetReference()}
	err := rpc.Validate(req)
	var r admission.Receipt
	if err == nil {
		r, err = s.submit(ctx, req.GetSubmission())
	}
	if err != nil {
		resp.Result = &routerv1.SubmitStreamResponse_Error{Error: rpc.StatusIn(Domain, err).Proto()}
		return resp
	}
	resp.Result = &routerv1.SubmitStreamResponse_Receipt{Receipt: receipt(r)}
	return resp
}

func (s *Server) submit(ctx context.Context, in *routerv1.Submission) (admission.Receipt, error) {
	if _, err := permit(ctx, rpc.ScopeSend, in.GetTenant()); err != nil {
		return admission.Receipt{}, err
	}
	sub, err := submission(in)
	if err != nil {
		return admission.Receipt{}, err
	}
	began := s.deps.Now()
	r, err := s.deps.Desk.Submit(ctx, sub)
	s.deps.Submitted(ctx, sub.Mail.Kind, r, err, s.deps.Now().Sub(began))
	return r, err
}

// submission decodes a submission.
func submission(in *routerv1.Submission) (admission.Submission, error) {
	facts, err := wire.Facts(in.GetFacts())
	if err != nil {
		return admission.Submission{}, err
	}
	sub := admission.Submission{
		Mail: mail.Mail{
			ID:           in.GetMailId(),
			Tenant:       in.GetTenant(),
			Kind:         wire.Kind(in.GetFacts().GetKind()),
			Recipient:    in.GetRecipient(),
			ReturnDomain: in.GetReturnDomain(),
			SMTPUTF8:     in.GetSmtputf8(),
			Facts:        facts,
			Message:      in.GetMessage(),
		},
		Lane:           in.GetLane(),
		IdempotencyKey: in.GetIdempotencyKey(),
		Fingerprint:    hex.EncodeToString(in.GetFingerprint()), // stores keep text, not bytes
		ExpiresIn:      in.GetExpiresIn().AsDuration(),
	}
	if in.GetSendAt() != nil {
		sub.SendAt = in.GetSendAt().AsTime()
	}
	return sub, nil
}

// receipt encodes a receipt.
func receipt(r admission.Receipt) *mailv1.Receipt {
	out := &mailv1.Receipt{
		MailId:     r.MailID,
		Lane:       r.Lane,
		State:      mailv1.State_STATE_QUEUED,
		AcceptedAt: timestamppb.New(r.AcceptedAt),
		ExpiresAt:  timestamppb.New(r.ExpiresAt),
		Replayed:   r.Replayed,
	}
	if r.Scheduled() {
		out.State, out.SendAt = mailv1.State_STATE_SCHEDULED, timestamppb.New(r.SendAt)
	}
	return out
}
