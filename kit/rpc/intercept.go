package rpc

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"kurir.dev/kit/fault"
)

// gate is what stands in front of the handlers of one server. Each step has a
// unary and a stream form; their order is set by unary and stream below.
type gate struct {
	domain   string
	log      *slog.Logger
	panics   metric.Int64Counter
	tls      TLS
	auth     *Auth // nil: open
	fallback time.Duration
	own      []string // methods that validate what they get themselves
	now      func() time.Time
}

func (g *gate) unary() []grpc.UnaryServerInterceptor {
	return []grpc.UnaryServerInterceptor{
		g.recoverUnary, g.authUnary, g.deadlineUnary, g.faultUnary, g.validateUnary,
	}
}

func (g *gate) stream() []grpc.StreamServerInterceptor {
	return []grpc.StreamServerInterceptor{
		g.recoverStream, g.authStream, g.deadlineStream, g.faultStream, g.validateStream,
	}
}

// open reports whether method needs no credentials: everybody may ask whether we
// are well and what we speak.
func open(method string) bool {
	return strings.HasPrefix(method, "/grpc.health.") || strings.HasPrefix(method, "/grpc.reflection.")
}

func (g *gate) recoverUnary(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler,
) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, g.panicked(ctx, info.FullMethod, p)
		}
	}()
	return next(ctx, req)
}

func (g *gate) recoverStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = g.panicked(ss.Context(), info.FullMethod, p)
		}
	}()
	return next(srv, ss)
}

func (g *gate) panicked(ctx context.Context, method string, p any) error {
	g.panics.Add(ctx, 1)
	g.log.ErrorContext(ctx, "handler panicked", slog.String("rpc_method", method),
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
	return g.status(ctx, &fault.Error{Kind: fault.Internal})
}

func (g *gate) authUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, g.status(ctx, err)
	}
	return next(ctx, req)
}

func (g *gate) authStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return g.status(ctx, err)
	}
	return next(srv, &serverStream{ServerStream: ss, ctx: ctx})
}

// admit returns ctx with the caller in it. It always returns a context.
func (g *gate) admit(ctx context.Context, method string) (context.Context, error) {
	if open(method) {
		return ctx, nil
	}
	p, _ := peer.FromContext(ctx)
	if err := g.tls.checkPeer(p); err != nil {
		return ctx, err
	}
	who := &principal{scopes: allScopes()}
	if g.auth != nil {
		md, _ := metadata.FromIncomingContext(ctx)
		var err error
		if who, err = g.auth.identify(md); err != nil {
			return ctx, err
		}
	}
	if who.tenant != "" {
		trace.SpanFromContext(ctx).SetAttributes(attribute.String("kurir.tenant", who.tenant))
	}
	return context.WithValue(ctx, principalKey{}, who), nil
}

func (g *gate) deadlineUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	within, cancel, err := budget(ctx, g.now(), g.fallback)
	if err != nil {
		return nil, g.status(ctx, err)
	}
	defer cancel()
	return next(within, req)
}

// A stream may stand for as long as its caller likes: it gets no default.
func (g *gate) deadlineStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	within, cancel, err := budget(ss.Context(), g.now(), 0)
	if err != nil {
		return g.status(ss.Context(), err)
	}
	defer cancel()
	return next(srv, &serverStream{ServerStream: ss, ctx: within})
}

func (g *gate) faultUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if err != nil {
		return nil, g.tell(ctx, info.FullMethod, err)
	}
	return resp, nil
}

func (g *gate) faultStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := next(srv, ss); err != nil {
		return g.tell(ss.Context(), info.FullMethod, err)
	}
	return nil
}

// tell maps a handler's error, and logs it if the caller is not told what it is.
func (g *gate) tell(ctx context.Context, method string, err error) error {
	told := g.status(ctx, err)
	if status.Code(told) == codes.Internal {
		g.log.ErrorContext(ctx, "internal error", slog.String("rpc_method", method), slog.Any("error", err))
	} else if f, ok := errors.AsType[*fault.Error](err); ok && f.Cause != nil {
		g.log.DebugContext(ctx, "call refused", slog.String("rpc_method", method), slog.Any("error", err))
	}
	return told
}

// status returns err as a status error. An internal one names the trace under
// which the log has its cause.
func (g *gate) status(ctx context.Context, err error) error {
	st := StatusIn(g.domain, err)
	if st.Code() != codes.Internal {
		return st.Err()
	}
	f := &fault.Error{Kind: fault.Internal}
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		f = f.WithMeta(metaTraceID, sc.TraceID().String())
	}
	return StatusIn(g.domain, f).Err()
}

func (g *gate) validateUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if slices.Contains(g.own, info.FullMethod) {
		return next(ctx, req)
	}
	if err := Validate(req); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (g *gate) validateStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if slices.Contains(g.own, info.FullMethod) {
		return next(srv, ss)
	}
	return next(srv, &validStream{ServerStream: ss})
}

// serverStream is a stream under another context.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // that is how gRPC hands it to handlers
}

// Context returns the context that the interceptors made.
func (s *serverStream) Context() context.Context { return s.ctx }

// validStream is a stream that yields valid messages only.
type validStream struct{ grpc.ServerStream }

// RecvMsg receives the next message; one that breaks its constraints is an
// Invalid fault.
func (s *validStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return Validate(m)
}
