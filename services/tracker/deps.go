// Package tracker is being laid out; its dependencies stand here until its code does.
package tracker
import (
_ "google.golang.org/grpc"
_ "google.golang.org/protobuf/proto"
_ "github.com/segmentio/kafka-go"
_ "github.com/google/go-cmp/cmp"
_ "go.opentelemetry.io/otel"
_ "golang.org/x/sync/errgroup"
)
