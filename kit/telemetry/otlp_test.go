package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"kurir.dev/kit/telemetry"
)

// collector is an OTLP/gRPC collector that remembers the names of spans.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []string
}

func (c *collector) Export(
	_ context.Context, req *collectorv1.ExportTraceServiceRequest,
) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			for _, span := range s.GetSpans() {
				c.spans = append(c.spans, span.GetName())
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTracesAreExported(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"", "http://"} {
		l, sink, srv := listen(t), new(collector), grpc.NewServer()
		collectorv1.RegisterTraceServiceServer(srv, sink)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()

		cfg := telemetry.Default()
		cfg.Traces.Endpoint, cfg.Traces.Insecure = scheme+l.Addr().String(), true
		tel, err := telemetry.New(t.Context(), "router", "v1", cfg, telemetry.WithWriter(new(bytes.Buffer)))
		if err != nil {
			t.Fatalf("New() = %v, want nil", err)
		}
		_, span := tel.Tracer("test").Start(t.Context(), "deliver")
		span.End()
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown() = %v, want nil", err)
		}
		srv.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve() = %v, want nil", err)
		}
		if len(sink.spans) != 1 || sink.spans[0] != "deliver" {
			t.Errorf("exported to %q = %v, want [deliver]", cfg.Traces.Endpoint, sink.spans)
		}
	}
}

// moody is an exporter that fails as told.
type moody struct{ err error }

func (m *moody) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return m.err }
func (m *moody) Shutdown(context.Context) error                             { return nil }

func TestFailingExportIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	m := new(moody)
	r := telemetry.NewReporter(m, slog.New(slog.NewTextHandler(&log, nil)))
	for _, err := range []error{nil, io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, nil, nil} {
		m.err = err
		if got := r.ExportSpans(t.Context(), nil); got != nil {
			t.Errorf("ExportSpans() = %v, want nil: the failure is in the log", got)
		}
	}
	lost := strings.Count(log.String(), "traces do not reach the collector")
	back := strings.Count(log.String(), "traces reach the collector again")
	if lost != 1 || back != 1 {
		t.Errorf("log = %q, want one loss and one return", log.String())
	}
}
