package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"kurir.dev/kit/conf"
	"kurir.dev/kit/telemetry"
)

// ClientConfig is how to reach a server.
type ClientConfig struct {
	// Target is the server's host:port. A name that resolves to several addresses
	// is called in turns.
	Target string `yaml:"target"`
	// TLS is off if zero.
	TLS TLS `yaml:"tls"`
	// Timeout bounds unary calls whose context has no deadline; zero is
	// DefaultDeadline.
	Timeout time.Duration `yaml:"timeout"`
	// Key is the API key to call with; "" calls without.
	Key conf.Secret `yaml:"key"`
}

// Validate returns all that is wrong with c, joined. It does not read files.
func (c ClientConfig) Validate() error {
	faults := []error{c.TLS.Validate()}
	if c.Target == "" {
		faults = append(faults, errors.New("target: is missing"))
	}
	if c.Timeout < 0 {
		faults = append(faults, errors.New("timeout: is negative"))
	}
	return errors.Join(faults...)
}

// ClientDeps is what a client needs from its process.
type ClientDeps struct {
	// Telemetry observes the calls.
	Telemetry *telemetry.Telemetry
	// Dialer connects to an address; nil uses the network. A MemoryListener has
	// one; the target may then be any name.
	Dialer func(ctx context.Context, addr string) (net.Conn, error)
}

// Dial returns a connection that connects at its first call and again whenever it
// is lost, at most every few seconds. Its calls return *fault.Error as FromStatus
// describes. Calls that only read, which their proto says by the idempotency
// level NO_SIDE_EFFECTS, are retried while the server is unavailable; all others
// are the caller's to retry. The caller closes the connection.
func Dial(cfg ClientConfig, deps ClientDeps) (*grpc.ClientConn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	creds, err := cfg.TLS.client()
	if err != nil {
		return nil, err
	}
	services, err := serviceConfig(protoregistry.GlobalFiles)
	if err != nil {
		return nil, err
	}
	caller := &caller{timeout: orDefault(cfg.Timeout, DefaultDeadline), key: cfg.Key}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(observe(deps.Telemetry)...)),
		grpc.WithChainUnaryInterceptor(caller.unary),
		grpc.WithChainStreamInterceptor(caller.stream),
		grpc.WithDefaultServiceConfig(services),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(DefaultMessageBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true,
		}),
		// A peer that restarts is back within seconds: do not wait for minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	target := cfg.Target
	if deps.Dialer != nil {
		opts = append(opts, grpc.WithContextDialer(deps.Dialer))
		if !strings.Contains(target, "://") {
			target = "passthrough:///" + target // the dialer knows the name, DNS does not
		}
	}
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("dialing %s: %w", cfg.Target, err)
	}
	return conn, nil
}

// serviceConfig says which methods of our services may be retried.
func serviceConfig(files *protoregistry.Files) (string, error) {
	type name struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	var reads []name
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "kurir.") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				if o, ok := m.Options().(*descriptorpb.MethodOptions); ok &&
					o.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS {
					reads = append(reads, name{Service: string(s.FullName()), Method: string(m.Name())})
				}
			}
		}
		return true
	})
	config := map[string]any{"loadBalancingConfig": []any{map[string]any{"round_robin": struct{}{}}}}
	if len(reads) > 0 {
		config["methodConfig"] = []any{map[string]any{
			"name": reads,
			"retryPolicy": map[string]any{
				"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 2,
				"retryableStatusCodes": []string{"UNAVAILABLE"},
			},
		}}
	}
	text, err := json.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("making the service config: %w", err)
	}
	return string(text), nil
}

// caller is what a call meets on its way out and back.
type caller struct {
	timeout time.Duration
	key     conf.Secret
}

func (c *caller) unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	return fromError(invoke(c.sign(ctx), method, req, reply, cc, opts...))
}

func (c *caller) stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	s, err := open(c.sign(ctx), desc, cc, method, opts...)
	if err != nil {
		return nil, fromError(err)
	}
	return &clientStream{ClientStream: s}, nil
}

func (c *caller) sign(ctx context.Context) context.Context {
	if c.key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, metaAuthorization, "Bearer "+c.key.Reveal())
}

// clientStream is a stream whose errors are faults.
type clientStream struct{ grpc.ClientStream }

// Header waits for the server's header.
func (s *clientStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, fromError(err)
}

// CloseSend says that no message follows.
func (s *clientStream) CloseSend() error { return fromError(s.ClientStream.CloseSend()) }

// SendMsg sends a message; io.EOF means that the stream ended, RecvMsg says why.
func (s *clientStream) SendMsg(m any) error { return fromError(s.ClientStream.SendMsg(m)) }

// RecvMsg receives a message; io.EOF is the stream's good end.
func (s *clientStream) RecvMsg(m any) error { return fromError(s.ClientStream.RecvMsg(m)) }

func fromError(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return FromStatus(status.Convert(err))
}
