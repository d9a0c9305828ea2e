package rpc

import (
	"context"

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
	steps := g.unary()
	for i := len(steps) - 1; i >= 0; i-- {
		step, next := steps[i], handle
		handle = func(ctx context.Context, req any) (any, error) { return step(ctx, req, info, next) }
	}
	return handle(ctx, req)
}
