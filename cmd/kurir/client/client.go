// Package client is the command line's side of Kurir's gRPC interfaces:
// sending one mail, asking where a mail is, and watching events.
package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// Access says how to reach a service.
type Access struct {
	// APIKey is sent as a bearer token; empty sends none, which a mesh
	// without keys takes as its development tenant.
	APIKey string `help:"API key, sent as a bearer token." env:"KURIR_API_KEY"`
	// Timeout bounds a unary call.
	Timeout time.Duration `help:"Longest wait for one call." default:"10s"`
}

// dial connects to target; the connection is made by the first call.
func (a Access) dial(target string, t *telemetry.Telemetry) (*grpc.ClientConn, error) {
	return rpc.Dial(rpc.ClientConfig{Target: target, Timeout: a.Timeout}, rpc.ClientDeps{Telemetry: t})
}

// authorize adds the API key to the calls made with the context.
func (a Access) authorize(ctx context.Context) context.Context {
	if a.APIKey == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.APIKey)
}

// Explain turns a call to target that failed into what a person at a terminal
// needs: the message, each field at fault, and when to try again.
func Explain(target string, err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s did not answer in time", target)
	case !ok:
		return err
	case f.Kind == fault.Unavailable && f.Reason == faultv1.Reason_REASON_UNSPECIFIED:
		// Our services give a reason; this is the connection speaking.
		return fmt.Errorf("nobody answers at %s: is kurir up running there?", target)
	}
	var b strings.Builder
	b.WriteString(f.Msg)
	for _, field := range f.Fields {
		if !strings.Contains(f.Msg, field.Description) {
			fmt.Fprintf(&b, "\n  %s: %s", field.Name, field.Description)
		}
	}
	if f.RetryAfter > 0 {
		fmt.Fprintf(&b, "\n  try again in %s", f.RetryAfter)
	}
	return errors.New(b.String())
}
