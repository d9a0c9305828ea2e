package rpcapi

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/mailaddr"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/router/internal/waiting"
	"kurir.dev/services/router/internal/wire"
)

// Cancel implements routerv1.RouterServiceServer.
func (s *Server) Cancel(ctx context.Context, req *routerv1.CancelRequest) (*routerv1.CancelResponse, error) {
	sc, err := scope(ctx, rpc.ScopeSend, req.GetScope())
	if err != nil {
		return nil, err
	}
	n, err := s.deps.Room.Cancel(ctx, sc, req.GetReason())
	if err != nil {
		return nil, err
	}
	return &routerv1.CancelResponse{Cancelled: n}, nil
}

// Hold implements routerv1.RouterServiceServer.
func (s *Server) Hold(ctx context.Context, req *routerv1.HoldRequest) (*routerv1.HoldResponse, error) {
	sc, err := scope(ctx, rpc.ScopeSend, req.GetScope())
	if err != nil {
		return nil, err
	}
	var until time.Time
	if req.GetUntil() != nil {
		until = req.GetUntil().AsTime().Truncate(time.Microsecond)
	}
	n, err := s.deps.Room.Hold(ctx, sc, req.GetReason(), until)
	if err != nil {
		return nil, err
	}
	return &routerv1.HoldResponse{Held: n}, nil
}

// Release implements routerv1.RouterServiceServer.
func (s *Server) Release(ctx context.Context, req *routerv1.ReleaseRequest) (*routerv1.ReleaseResponse, error) {
	sc, err := scope(ctx, rpc.ScopeSend, req.GetScope())
	if err != nil {
		return nil, err
	}
	n, err := s.deps.Room.Release(ctx, sc)
	if err != nil {
		return nil, err
	}
	return &routerv1.ReleaseResponse{Released: n}, nil
}

// Decide implements routerv1.RouterServiceServer.
func (s *Server) Decide(ctx context.Context, req *routerv1.DecideRequest) (*routerv1.DecideResponse, error) {
	sc, err := scope(ctx, rpc.ScopeSend, req.GetScope())
	if err != nil {
		return nil, err
	}
	var ending waiting.Ending // none for VERDICT_SEND
	switch req.GetVerdict() {
	case routerv1.Verdict_VERDICT_UNSPECIFIED:
		return nil, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "verdict", "must be given")
	case routerv1.Verdict_VERDICT_SEND:
	case routerv1.Verdict_VERDICT_DELIVERED:
		ending = waiting.Delivered
	case routerv1.Verdict_VERDICT_CANCEL:
		ending = waiting.Cancelled
	case routerv1.Verdict_VERDICT_EXPIRE:
		ending = waiting.Expired
	}
	n, err := s.deps.Room.Decide(ctx, sc, ending, req.GetReason())
	if err != nil {
		return nil, err
	}
	return &routerv1.DecideResponse{Decided: n}, nil
}

// ListWaiting implements routerv1.RouterServiceServer.
func (s *Server) ListWaiting(ctx context.Context, req *routerv1.ListWaitingRequest) (*routerv1.ListWaitingResponse, error) {
	in := req.GetScope()
	if in == nil {
		in = &routerv1.Scope{Tenant: rpc.Tenant(ctx)}
	}
	sc, err := scope(ctx, rpc.ScopeRead, in)
	if err != nil {
		return nil, err
	}
	after, err := parseCursor(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	limit := pageSize(req.GetPageSize())
	mails, err := s.deps.Room.List(ctx, sc, after, limit+1)
	if err != nil {
		return nil, err
	}
	resp := &routerv1.ListWaitingResponse{}
	if len(mails) > limit {
		mails = mails[:limit]
		resp.NextPageToken = cursor(mails[limit-1])
	}
	for _, m := range mails {
		resp.Mails = append(resp.Mails, waitingMail(m))
	}
	return resp, nil
}

// scope decodes a scope and checks that the caller may use it.
func scope(ctx context.Context, permission string, in *routerv1.Scope) (waiting.Scope, error) {
	tenant, err := permit(ctx, permission, in.GetTenant())
	if err != nil {
		return waiting.Scope{}, err
	}
	sc := waiting.Scope{
		Tenant: tenant, IDs: in.GetMailIds(), Lane: in.GetLane(), Invoice: in.GetInvoiceId(),
		Template: in.GetTemplate(), Site: in.GetSite(), Kind: wire.Kind(in.GetKind()),
		Held: in.GetHeld(), InDoubt: in.GetInDoubt(),
	}
	if in.GetDomain() != "" {
		if sc.Domain, err = mailaddr.ParseDomain(in.GetDomain()); err != nil {
			return waiting.Scope{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "scope.domain", "is no domain").WithCause(err)
		}
	}
	return sc, nil
}

// waitingMail encodes a waiting mail.
func waitingMail(m waiting.Mail) *routerv1.WaitingMail {
	state := mailv1.State_STATE_DEFERRED
	switch {
	case m.Held:
		state = mailv1.State_STATE_HELD
	case m.State == waiting.Scheduled:
		state = mailv1.State_STATE_SCHEDULED
	}
	out := &routerv1.WaitingMail{
		MailId:    m.ID,
		Tenant:    m.Tenant,
		Lane:      m.Lane,
		Domain:    m.Domain,
		State:     state,
		Reason:    m.Reason,
		DueAt:     timestamppb.New(m.DueAt),
		ExpiresAt: timestamppb.New(m.ExpiresAt),
		Attempts:  max(m.Attempt, 1) - 1,
		Site:      m.Site,
		Recipient: m.Hint,
		Kind:      mailv1.Kind(m.Kind),
		InDoubt:   m.InDoubt,
	}
	if m.Held {
		if !m.HeldAt.IsZero() {
			out.HeldSince = timestamppb.New(m.HeldAt)
		}
		if !m.HoldUntil.IsZero() {
			out.HeldUntil = timestamppb.New(m.HoldUntil)
		}
	}
	return out
}

// cursor is the page token that asks for what comes after m.
func cursor(m waiting.Mail) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(m.DueAt.UnixMicro(), 10) + "|" + m.ID))
}

// parseCursor reads a page token; "" is the beginning.
func parseCursor(token string) (waiting.Cursor, error) {
	if token == "" {
		return waiting.Cursor{}, nil
	}
	bad := fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "page_token", "is none that was given out")
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return waiting.Cursor{}, bad
	}
	due, id, ok := strings.Cut(string(raw), "|")
	us, err := strconv.ParseInt(due, 10, 64)
	if !ok || err != nil {
		return waiting.Cursor{}, bad
	}
	return waiting.Cursor{DueAt: time.UnixMicro(us).UTC(), ID: id}, nil
}
