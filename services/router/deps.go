// Package router is being laid out; its dependencies stand here until its code does.
package router

import (
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/google/uuid"
	_ "github.com/segmentio/kafka-go"
	_ "go.opentelemetry.io/otel"
	_ "golang.org/x/sync/errgroup"
	_ "google.golang.org/grpc"
	_ "google.golang.org/protobuf/proto"
)
