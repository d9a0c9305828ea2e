package harness

import (
	"context"
	"encoding/hex"
	"net"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// Span is a span as a trace shows it.
type Span struct {
	Service, Name    string
	TraceID          string
	ID, Parent       string
	Attributes       map[string]string
	StartNano, Ended uint64
}

// Collector is an OTLP/gRPC collector that keeps every span it is sent. It is
// safe for concurrent use.
type Collector struct {
	collector.UnimplementedTraceServiceServer

	addr  string
	mu    sync.Mutex
	spans []Span
}

// NewCollector runs a collector until the end of the test.
func NewCollector(t *testing.T) *Collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Collector{addr: l.Addr().String()}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return c
}

// Addr is the collector's address, host:port.
func (c *Collector) Addr() string { return c.addr }

// Export keeps the spans.
func (c *Collector) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range req.GetResourceSpans() {
		service := ""
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				span := Span{
					Service: service, Name: s.GetName(), TraceID: hex.EncodeToString(s.GetTraceId()),
					ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
					Attributes: map[string]string{}, StartNano: s.GetStartTimeUnixNano(), Ended: s.GetEndTimeUnixNano(),
				}
				for _, a := range s.GetAttributes() {
					span.Attributes[a.GetKey()] = a.GetValue().String()
				}
				c.spans = append(c.spans, span)
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// Trace returns the spans of a trace that came so far, by span id.
func (c *Collector) Trace(id string) map[string]Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]Span{}
	for _, s := range c.spans {
		if s.TraceID == id {
			found[s.ID] = s
		}
	}
	return found
}

// All returns every span that came so far.
func (c *Collector) All() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}
