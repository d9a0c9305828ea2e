package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// silent makes the tracers of a process that shows its spans to nobody. They
// have ids and are sampled as ever, so that logs name them and the spans of
// other processes descend from them, but they record nothing.
type silent struct {
	embedded.TracerProvider
	roots sdktrace.Sampler // of spans without a parent
}

// Tracer implements trace.TracerProvider.
func (s silent) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return silentTracer{roots: s.roots}
}

type silentTracer struct {
	embedded.Tracer
	roots sdktrace.Sampler
}

// Start implements trace.Tracer.
func (t silentTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	cfg := trace.NewSpanStartConfig(opts...)
	parent := trace.SpanContextFromContext(ctx)
	if cfg.NewRoot() || !parent.IsValid() {
		id := trace.TraceID(append(word(), word()...))
		parent = trace.NewSpanContext(trace.SpanContextConfig{TraceID: id})
		if t.roots.ShouldSample(sdktrace.SamplingParameters{
			ParentContext: trace.ContextWithSpanContext(ctx, trace.SpanContext{}), TraceID: id, Name: name, Kind: cfg.SpanKind(),
		}).Decision == sdktrace.RecordAndSample {
			parent = parent.WithTraceFlags(trace.FlagsSampled)
		}
	}
	ctx = trace.ContextWithSpanContext(ctx, parent.WithSpanID(trace.SpanID(word())).WithRemote(false))
	return ctx, trace.SpanFromContext(ctx)
}

// word is eight random bytes, not all zero: an id of zeros is none.
func word() []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 16), rand.Uint64()|1)
}
