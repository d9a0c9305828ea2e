package rpcapi

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	"kurir.dev/kit/rpc"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// ListLanes implements routerv1.RouterServiceServer.
func (s *Server) ListLanes(ctx context.Context, _ *routerv1.ListLanesRequest) (*routerv1.ListLanesResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return nil, err
	}
	stats, err := s.deps.Stats(ctx)
	if err != nil {
		return nil, err
	}
	resp := &routerv1.ListLanesResponse{}
	for _, l := range s.deps.Lanes {
		st := stats[l.Name]
		out := &routerv1.Lane{
			Name:          l.Name,
			Rank:          int32(l.Rank),
			Weight:        int32(l.Weight),
			FloorPercent:  int32(l.FloorPercent),
			Depth:         st.Depth,
			Waiting:       st.Waiting,
			InFlight:      st.InFlight,
			AcceptedRate:  st.Accepted,
			SettledRate:   st.Settled,
			DefaultExpiry: durationpb.New(l.Expiry),
		}
		if st.Window > 0 {
			out.RateWindow = durationpb.New(st.Window)
		}
		if !st.Oldest.IsZero() {
			out.OldestAge = durationpb.New(max(s.deps.Now().Sub(st.Oldest), 0))
		}
		resp.Lanes = append(resp.Lanes, out)
	}
	return resp, nil
}
