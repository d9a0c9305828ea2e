// What go.mod names stands here, so that it stays named.

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
