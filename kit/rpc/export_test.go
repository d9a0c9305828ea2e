package rpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
)

// Seams of the package for its tests.
var (
	Budget        = budget
	ServiceConfig = serviceConfig
)

// Through sends a call through all interceptors of a server, without one.
func Through(
	ctx context.Context, cfg ServerConfig, deps ServerDeps, method string, req any, handle grpc.UnaryHandler,
) (any, error) {
	g, err := newGate(cfg, deps)
	if err != nil {
		return nil, err
	}
	info := &grpc.UnaryServerInfo{FullMethod: method}
	for _, step := range slices.Backward(g.unary()) {
		next := handle
		handle = func(ctx context.Context, req any) (any, error) { return step(ctx, req, info, next) }
	}
	return handle(ctx, req)
}
