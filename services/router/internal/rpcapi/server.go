// Package rpcapi speaks kurir.router.v1.RouterService: it decodes requests,
// asks the rules, and encodes what they answer.
//
// Who may do what: submitting, cancelling, holding, releasing and deciding ask
// for the scope send, reading for read, the suppression list for admin to change, the dead topic for admin. A
// caller acts for its own tenant; another one, or all of them at once, asks
// for admin besides. On a server without keys the request names the tenant.
package rpcapi

import (
	"context"
	"sync"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/dead"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
	"kurir.dev/services/router/internal/waiting"
)

// Domain is the domain of the service's error infos.
const Domain = "router.kurir"

// Desk takes submissions; admission.Desk is one.
type Desk interface {
	Submit(ctx context.Context, s admission.Submission) (admission.Receipt, error)
}

// Room is the waiting room; waiting.Room is one.
type Room interface {
	Cancel(ctx context.Context, s waiting.Scope, reason string) (int64, error)
	Hold(ctx context.Context, s waiting.Scope, reason string, until time.Time) (int64, error)
	Release(ctx context.Context, s waiting.Scope) (int64, error)
	Decide(ctx context.Context, s waiting.Scope, ending waiting.Ending, reason string) (int64, error)
	List(ctx context.Context, s waiting.Scope, after waiting.Cursor, limit int) ([]waiting.Mail, error)
}

// List is the suppression list; the store is one.
type List interface {
	// Suppress adds e, unless the entry that stands does not yield to it, and
	// gives back the entry as it then stands.
	Suppress(ctx context.Context, e suppression.Entry) (suppression.Entry, error)
	// Unsuppress removes an entry and tells whether there was one.
	Unsuppress(ctx context.Context, tenant string, key mail.Key) (bool, error)
	// Suppressions lists a tenant's entries by address, beginning after the
	// address given, at most limit.
	Suppressions(ctx context.Context, tenant, after string, limit int) ([]suppression.Entry, error)
	// Suppression looks one address up.
	Suppression(ctx context.Context, tenant string, key mail.Key) (suppression.Entry, bool, error)
}

// Dead is the dead topic; dead.Desk is one.
type Dead interface {
	List(ctx context.Context, topic string, from dead.Place, limit int) ([]dead.Record, *dead.Place, error)
	Get(ctx context.Context, id string) (dead.Record, string, error)
	Replay(ctx context.Context, id string, again bool) (string, broker.Position, error)
}

// LaneStat is how a lane does.
type LaneStat struct {
	// Depth is how many records the dispatchers have not done.
	Depth int64
	// Oldest is when the oldest of them was produced; zero when there is none.
	Oldest time.Time
	// InFlight is how many of them the dispatchers have taken.
	InFlight int64
	// Waiting is how many mails of the lane are in the waiting room.
	Waiting int64
	// Accepted and Settled are records per second put onto the lane and done,
	// averaged over Window; zero Window is none yet.
	Accepted, Settled float64
	Window            time.Duration
}

// Deps are what the server asks; all are required.
type Deps struct {
	Desk  Desk
	Room  Room
	List  List
	Dead  Dead
	Lanes lane.Set
	// Stats tells how the lanes do, quickly.
	Stats func(ctx context.Context) (map[string]LaneStat, error)
	// Submitted is told of every submission: the kind of mail, how it ended
	// and how long it took.
	Submitted func(ctx context.Context, k mail.Kind, r admission.Receipt, err error, took time.Duration)
	Now       func() time.Time
	// StreamWindow is how many items of a stream are worked on at once, and
	// ItemTimeout bounds each of them.
	StreamWindow int
	ItemTimeout  time.Duration
}

// Server implements routerv1.RouterServiceServer.
type Server struct {
	routerv1.UnimplementedRouterServiceServer
	deps     Deps
	stopping chan struct{}
	readers  sync.WaitGroup // of streams
}

// New makes a server.
func New(deps Deps) *Server { return &Server{deps: deps, stopping: make(chan struct{})} }

// Part ends streams: Stop has each of them answer what it has taken and refuse
// the rest. Stop it before the server that serves it, which waits for them.
func (s *Server) Part() app.Part {
	return app.Part{Name: "streams", Stop: func(context.Context) error {
		close(s.stopping)
		return nil
	}}
}

// Wait waits for what the streams left behind; they have all ended.
func (s *Server) Wait() { s.readers.Wait() }

// permit tells which tenant a call is for: the one asked for, or the caller's
// own when none is. An empty answer is every tenant.
func permit(ctx context.Context, scope, asked string) (string, error) {
	if err := rpc.Require(ctx, scope); err != nil {
		return "", err
	}
	caller := rpc.Tenant(ctx)
	if caller == "" || caller == asked {
		return asked, nil
	}
	return asked, rpc.Require(ctx, rpc.ScopeAdmin)
}

// own is permit for calls that concern exactly one tenant.
func own(ctx context.Context, scope, asked string) (string, error) {
	if asked == "" {
		asked = rpc.Tenant(ctx)
	}
	if asked == "" {
		return "", fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "tenant", "must be given")
	}
	return permit(ctx, scope, asked)
}

// pageSize is how many entries a page holds.
func pageSize(asked int32) int {
	if asked == 0 {
		return 100
	}
	return int(asked)
}
