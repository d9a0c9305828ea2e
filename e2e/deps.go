package e2e
import (
_ "github.com/google/go-cmp/cmp"
_ "google.golang.org/grpc"
_ "github.com/miekg/dns"
_ "github.com/emersion/go-smtp"
_ "go.opentelemetry.io/proto/otlp/collector/trace/v1"
_ "go.starlark.net/starlark"
_ "k8s.io/api/apps/v1"
_ "k8s.io/apimachinery/pkg/runtime/serializer"
_ "k8s.io/api/core/v1"
_ "github.com/chromedp/chromedp"
_ "github.com/segmentio/kafka-go"
_ "go.yaml.in/yaml/v3"
_ "github.com/emersion/go-msgauth/dkim"
)
