package telemetry_test

import (
	"context"
	"io"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"kurir.dev/kit/telemetry"
)

// TestSilent: spans that nobody will see descend from one another as others do.
func TestSilent(t *testing.T) {
	t.Parallel()
	for _, ratio := range []float64{0, 1} {
		cfg := telemetry.Default()
		cfg.Traces.Ratio = ratio
		tel, err := telemetry.New(t.Context(), "test", "v1", cfg, telemetry.WithWriter(io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tel.Shutdown(context.WithoutCancel(t.Context())) })
		tracer := tel.Tracer("test")
		ctx, span := tracer.Start(t.Context(), "root")
		root := span.SpanContext()
		if !root.IsValid() || root.IsSampled() != (ratio == 1) || span.IsRecording() {
			t.Errorf("at ratio %v root = %+v, recording %t, want it valid and silent", ratio, root, span.IsRecording())
		}
		_, span = tracer.Start(ctx, "child")
		child := span.SpanContext()
		if child.TraceID() != root.TraceID() || child.SpanID() == root.SpanID() || child.TraceFlags() != root.TraceFlags() {
			t.Errorf("child = %+v, want a span of its own in the trace of %+v", child, root)
		}
		if _, span = tracer.Start(ctx, "another", trace.WithNewRoot()); span.SpanContext().TraceID() == root.TraceID() {
			t.Errorf("another root = %+v, want another trace than %+v", span.SpanContext(), root)
		}
		parent, state := telemetry.Inject(ctx)
		if got := trace.SpanContextFromContext(telemetry.Extract(t.Context(), parent, state)); got.SpanID() != root.SpanID() ||
			got.IsSampled() != root.IsSampled() {
			t.Errorf("extracted = %+v, want %+v", got, root)
		}
	}
}
