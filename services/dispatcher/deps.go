// Package dispatcher is being laid out; its dependencies stand here until its code does.
package dispatcher
import (
_ "google.golang.org/grpc"
_ "google.golang.org/protobuf/proto"
_ "github.com/segmentio/kafka-go"
_ "github.com/google/go-cmp/cmp"
_ "go.opentelemetry.io/otel"
_ "golang.org/x/sync/errgroup"
_ "github.com/miekg/dns"
_ "github.com/emersion/go-smtp"
_ "github.com/emersion/go-msgauth/dkim"
_ "github.com/emersion/go-sasl"
_ "modernc.org/sqlite"
)
