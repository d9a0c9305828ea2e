// Package rpcapi is DispatcherService: looking into delivery, and acting on
// it. Handlers decode, call, and encode.
package rpcapi

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	dispatcherv1 "kurir.dev/proto/gen/kurir/dispatcher/v1"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/dispatcher/internal/site"
)

// Sites is what there is to look into; the service gives its engine's.
type Sites interface {
	List(limit int) []site.Info
	Get(name string) (site.Info, bool)
	Connections(name string) []site.Connection
	Shut(id string) bool
}

// Suspender stops a site until then; the zero time lets it go on. False when
// there is no such site.
type Suspender func(name string, until time.Time) bool

// Server implements DispatcherService.
type Server struct {
	dispatcherv1.UnimplementedDispatcherServiceServer
	sites   Sites
	suspend Suspender
	ehlo    string
	lanes   []string
	now     func() time.Time
}

// New makes the server. ehlo and lanes describe the one egress there is.
func New(sites Sites, suspend Suspender, ehlo string, lanes []string, now func() time.Time) *Server {
	return &Server{sites: sites, suspend: suspend, ehlo: ehlo, lanes: lanes, now: now}
}

const defaultPage = 100

// ListSites lists the destinations, the busiest first.
func (s *Server) ListSites(ctx context.Context, req *dispatcherv1.ListSitesRequest) (*dispatcherv1.ListSitesResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return nil, err
	}
	limit := int(req.GetPageSize())
	if limit == 0 {
		limit = defaultPage
	}
	resp := &dispatcherv1.ListSitesResponse{}
	for _, info := range s.sites.List(limit) {
		resp.Sites = append(resp.Sites, toSite(info))
	}
	return resp, nil
}

// GetSite shows one destination with its hosts.
func (s *Server) GetSite(ctx context.Context, req *dispatcherv1.GetSiteRequest) (*dispatcherv1.GetSiteResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return nil, err
	}
	info, ok := s.sites.Get(req.GetName())
	if !ok {
		return nil, unknown(req.GetName())
	}
	resp := &dispatcherv1.GetSiteResponse{Site: toSite(info)}
	for _, h := range info.Hosts {
		resp.Hosts = append(resp.Hosts, &dispatcherv1.Host{Name: h.Name, Preference: uint32(h.Preference), Addresses: h.Addresses})
	}
	return resp, nil
}

// SuspendSite stops deliveries to a site for a while; what waits for it goes
// back to the waiting room.
func (s *Server) SuspendSite(ctx context.Context, req *dispatcherv1.SuspendSiteRequest) (*dispatcherv1.SuspendSiteResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeAdmin); err != nil {
		return nil, err
	}
	period := req.GetPeriod().AsDuration()
	if period <= 0 {
		return nil, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "period", "must be above 0")
	}
	info, err := s.set(req.GetName(), s.now().Add(period))
	if err != nil {
		return nil, err
	}
	return &dispatcherv1.SuspendSiteResponse{Site: info}, nil
}

// ResumeSite ends a suspension.
func (s *Server) ResumeSite(ctx context.Context, req *dispatcherv1.ResumeSiteRequest) (*dispatcherv1.ResumeSiteResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeAdmin); err != nil {
		return nil, err
	}
	info, err := s.set(req.GetName(), time.Time{})
	if err != nil {
		return nil, err
	}
	return &dispatcherv1.ResumeSiteResponse{Site: info}, nil
}

func (s *Server) set(name string, until time.Time) (*dispatcherv1.Site, error) {
	if !s.suspend(name, until) {
		return nil, unknown(name)
	}
	info, ok := s.sites.Get(name)
	if !ok {
		return nil, unknown(name)
	}
	return toSite(info), nil
}

// ListEgress lists the one source there is: the system chooses its address.
func (s *Server) ListEgress(ctx context.Context, _ *dispatcherv1.ListEgressRequest) (*dispatcherv1.ListEgressResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return nil, err
	}
	return &dispatcherv1.ListEgressResponse{Egress: []*dispatcherv1.Egress{{Name: "default", Ehlo: s.ehlo, Lanes: s.lanes}}}, nil
}

// RestEgress is not built yet.
func (s *Server) RestEgress(context.Context, *dispatcherv1.RestEgressRequest) (*dispatcherv1.RestEgressResponse, error) {
	return nil, fault.Newf(fault.Unimplemented, faultv1.Reason_REASON_NOT_IMPLEMENTED, "there is one egress and it cannot rest")
}

// ListConnections lists the open sessions, the oldest first.
func (s *Server) ListConnections(ctx context.Context, req *dispatcherv1.ListConnectionsRequest) (*dispatcherv1.ListConnectionsResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeRead); err != nil {
		return nil, err
	}
	resp := &dispatcherv1.ListConnectionsResponse{}
	for _, c := range s.sites.Connections(req.GetSite()) {
		resp.Connections = append(resp.Connections, &dispatcherv1.Connection{
			Id: c.ID, Site: c.Site, Host: c.Host, RemoteIp: c.Remote, Tls: c.TLS, Mails: c.Mails,
			Since: timestamppb.New(c.Since), Busy: c.Busy,
		})
	}
	return resp, nil
}

// CloseConnection closes a session after its mail.
func (s *Server) CloseConnection(ctx context.Context, req *dispatcherv1.CloseConnectionRequest) (*dispatcherv1.CloseConnectionResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeAdmin); err != nil {
		return nil, err
	}
	if !s.sites.Shut(req.GetId()) {
		return nil, fault.Newf(fault.NotFound, faultv1.Reason_REASON_UNSPECIFIED, "no connection %q is open", req.GetId())
	}
	return &dispatcherv1.CloseConnectionResponse{}, nil
}

func unknown(name string) error {
	return fault.Newf(fault.NotFound, faultv1.Reason_REASON_SITE_UNKNOWN, "no site %q is known here", name)
}

func toSite(info site.Info) *dispatcherv1.Site {
	s := &dispatcherv1.Site{
		Name: info.Name, Queued: info.Queued, Connections: int32(info.Connections), ConnectionLimit: int32(info.Limit),
		Delivered: info.Tally.Delivered, Deferred: info.Tally.Deferred, Bounced: info.Tally.Bounced, LastError: info.LastError,
	}
	if !info.Suspended.IsZero() {
		s.SuspendedUntil = timestamppb.New(info.Suspended)
	}
	return s
}
