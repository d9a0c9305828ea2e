package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// newTracerProvider samples by the caller's decision, else by ratio, and exports
// in batches if there is an endpoint. Without that and processors it makes spans
// that record nothing.
func newTracerProvider(
	ctx context.Context, cfg TracesConfig, res *resource.Resource,
	processors []sdktrace.SpanProcessor, log *slog.Logger,
) (tp trace.TracerProvider, shutdown func(context.Context) error, err error) {
	roots := sdktrace.TraceIDRatioBased(cfg.Ratio)
	if cfg.Endpoint == "" && len(processors) == 0 {
		return silent{roots: roots}, func(context.Context) error { return nil }, nil
	}
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sdktrace.ParentBased(roots)),
	}
	for _, p := range processors {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	if cfg.Endpoint != "" {
		exporter, err := newExporter(ctx, cfg)
		if err != nil {
			return nil, nil, err
		}
		opts = append(opts, sdktrace.WithBatcher(&reporter{SpanExporter: exporter, log: log}))
	}
	recording := sdktrace.NewTracerProvider(opts...)
	return recording, recording.Shutdown, nil
}

func newExporter(ctx context.Context, cfg TracesConfig) (sdktrace.SpanExporter, error) {
	opts := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(cfg.Endpoint)}
	if strings.Contains(cfg.Endpoint, "://") {
		opts[0] = otlptracegrpc.WithEndpointURL(cfg.Endpoint)
	}
	if cfg.Insecure {
		opts = append(opts, otlptracegrpc.WithInsecure())
	}
	exporter, err := otlptracegrpc.New(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("making the trace exporter for %s: %w", cfg.Endpoint, err)
	}
	return exporter, nil
}

// reporter tells the log when exporting begins to fail and when it works again.
// Without it the SDK would report each failure to a handler that is global to
// the process.
type reporter struct {
	sdktrace.SpanExporter
	log     *slog.Logger
	failing atomic.Bool
}

// ExportSpans exports spans; a failure is logged and not returned.
func (r *reporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	failed := err != nil
	if r.failing.Swap(failed) == failed {
		return nil
	}
	if failed {
		r.log.WarnContext(ctx, "traces do not reach the collector", slog.Any("error", err))
	} else {
		r.log.InfoContext(ctx, "traces reach the collector again")
	}
	return nil
}

// Propagator returns the one way trace context travels between processes: the
// headers of W3C Trace Context.
func Propagator() propagation.TextMapPropagator { return propagation.TraceContext{} }

// Inject returns the span of ctx as the two W3C header values, for carriers that
// are no HTTP headers. Both are "" if ctx holds no span.
func Inject(ctx context.Context) (traceparent, tracestate string) {
	c := propagation.MapCarrier{}
	Propagator().Inject(ctx, c)
	return c.Get("traceparent"), c.Get("tracestate")
}

// Extract returns ctx with the remote span that traceparent names as its parent.
// A value that cannot be read leaves ctx as it is.
func Extract(ctx context.Context, traceparent, tracestate string) context.Context {
	if traceparent == "" {
		return ctx
	}
	c := propagation.MapCarrier{"traceparent": traceparent, "tracestate": tracestate}
	return Propagator().Extract(ctx, c)
}
