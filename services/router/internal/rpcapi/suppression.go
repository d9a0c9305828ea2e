package rpcapi

import (
	"context"
	"encoding/base64"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/mailaddr"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
)

// AddSuppression implements routerv1.RouterServiceServer.
func (s *Server) AddSuppression(ctx context.Context, req *routerv1.AddSuppressionRequest) (*routerv1.AddSuppressionResponse, error) {
	in := req.GetSuppression()
	tenant, err := own(ctx, rpc.ScopeAdmin, in.GetTenant())
	if err != nil {
		return nil, err
	}
	address, key, err := recipient(tenant, "suppression.address", in.GetAddress())
	if err != nil {
		return nil, err
	}
	e, err := s.deps.List.Suppress(ctx, suppression.Entry{
		Tenant: tenant, Address: address, Key: key, Cause: suppression.Cause(in.GetCause()),
		Note: in.GetNote(), Since: s.deps.Now().Truncate(time.Microsecond),
	})
	if err != nil {
		return nil, err
	}
	return &routerv1.AddSuppressionResponse{Suppression: entry(e)}, nil
}

// RemoveSuppression implements routerv1.RouterServiceServer.
func (s *Server) RemoveSuppression(ctx context.Context, req *routerv1.RemoveSuppressionRequest) (*routerv1.RemoveSuppressionResponse, error) {
	tenant, err := own(ctx, rpc.ScopeAdmin, req.GetTenant())
	if err != nil {
		return nil, err
	}
	_, key, err := recipient(tenant, "address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	removed, err := s.deps.List.Unsuppress(ctx, tenant, key)
	switch {
	case err != nil:
		return nil, err
	case !removed:
		return nil, fault.Newf(fault.NotFound, faultv1.Reason_REASON_SUPPRESSION_UNKNOWN, "no suppression of that address")
	}
	return &routerv1.RemoveSuppressionResponse{}, nil
}

// ListSuppressions implements routerv1.RouterServiceServer.
func (s *Server) ListSuppressions(ctx context.Context, req *routerv1.ListSuppressionsRequest) (*routerv1.ListSuppressionsResponse, error) {
	tenant, err := own(ctx, rpc.ScopeRead, req.GetTenant())
	if err != nil {
		return nil, err
	}
	resp := &routerv1.ListSuppressionsResponse{}
	if req.GetAddress() != "" {
		_, key, err := recipient(tenant, "address", req.GetAddress())
		if err != nil {
			return nil, err
		}
		e, ok, err := s.deps.List.Suppression(ctx, tenant, key)
		if err != nil {
			return nil, err
		}
		if ok {
			resp.Suppressions = append(resp.Suppressions, entry(e))
		}
		return resp, nil
	}
	after, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return nil, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "page_token", "is none that was given out")
	}
	limit := pageSize(req.GetPageSize())
	list, err := s.deps.List.Suppressions(ctx, tenant, string(after), limit+1)
	if err != nil {
		return nil, err
	}
	if len(list) > limit {
		list = list[:limit]
		resp.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(list[limit-1].Address))
	}
	for _, e := range list {
		resp.Suppressions = append(resp.Suppressions, entry(e))
	}
	return resp, nil
}

// recipient reads an address as the suppression list keeps it.
func recipient(tenant, field, address string) (string, mail.Key, error) {
	addr, err := mailaddr.Parse(address)
	if err != nil {
		return "", mail.Key{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_RECIPIENT, field, "is no mailbox").WithCause(err)
	}
	return addr.Key(), mail.KeyOf(tenant, addr.Key()), nil
}

// entry encodes an entry of the list.
func entry(e suppression.Entry) *routerv1.Suppression {
	return &routerv1.Suppression{
		Tenant: e.Tenant, Address: e.Address, Cause: routerv1.SuppressionCause(e.Cause),
		CreatedAt: timestamppb.New(e.Since), Note: e.Note,
	}
}
