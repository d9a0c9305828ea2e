package rpcapi

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/router/internal/dead"
)

// ListDead implements routerv1.RouterServiceServer. A page token is the id of
// the record the page begins with.
func (s *Server) ListDead(ctx context.Context, req *routerv1.ListDeadRequest) (*routerv1.ListDeadResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeAdmin); err != nil {
		return nil, err
	}
	var from dead.Place
	if token := req.GetPageToken(); token != "" {
		var ok bool
		if from, ok = dead.ParsePlace(token); !ok {
			return nil, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "page_token", "is none that was given out")
		}
	}
	list, rest, err := s.deps.Dead.List(ctx, req.GetTopic(), from, pageSize(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	resp := &routerv1.ListDeadResponse{}
	for _, r := range list {
		resp.Records = append(resp.Records, deadRecord(r))
	}
	if rest != nil {
		resp.NextPageToken = rest.String()
	}
	return resp, nil
}

// GetDead implements routerv1.RouterServiceServer.
func (s *Server) GetDead(ctx context.Context, req *routerv1.GetDeadRequest) (*routerv1.GetDeadResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeAdmin); err != nil {
		return nil, err
	}
	r, problem, err := s.deps.Dead.Get(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	return &routerv1.GetDeadResponse{Record: deadRecord(r), Opens: problem == "", Problem: problem}, nil
}

// ReplayDead implements routerv1.RouterServiceServer.
func (s *Server) ReplayDead(ctx context.Context, req *routerv1.ReplayDeadRequest) (*routerv1.ReplayDeadResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeAdmin); err != nil {
		return nil, err
	}
	topic, pos, err := s.deps.Dead.Replay(ctx, req.GetId(), req.GetAgain())
	if err != nil {
		return nil, err
	}
	return &routerv1.ReplayDeadResponse{Topic: topic, Partition: int32(pos.Partition), Offset: pos.Offset}, nil
}

func deadRecord(r dead.Record) *routerv1.DeadRecord {
	out := &routerv1.DeadRecord{
		Id: r.ID, DiedAt: timestamppb.New(r.DiedAt), Reason: r.Reason, Topic: r.Topic, Partition: int32(r.Partition),
		Offset: r.Offset, MailId: r.MailID, Headers: r.Headers, Bytes: int64(r.Bytes), ReplayOf: r.ReplayOf,
	}
	if !r.ReplayedAt.IsZero() {
		out.ReplayedAt = timestamppb.New(r.ReplayedAt)
	}
	return out
}
