// Package telemetry makes a process observable: structured logs that carry the
// trace they belong to, OpenTelemetry traces sent by OTLP over gRPC, and metrics
// in the Prometheus text format.
//
// Nothing here is global. A Telemetry is made once in main and handed to whoever
// needs it; two of them in one process do not know of each other. Propagation is
// W3C Trace Context and nothing else: baggage could carry a customer's data to
// places where it must not be.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Telemetry is what a process is observed by. All of it may be used from any
// number of goroutines. Call Shutdown last of all.
type Telemetry struct {
	// Log is the process's logger. Use its context methods: they add trace_id
	// and span_id.
	Log *slog.Logger
	// Level is the level of Log and may be changed at any time.
	Level *slog.LevelVar
	// TracerProvider makes the tracers.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the meters.
	MeterProvider metric.MeterProvider
	// Metrics serves all metrics of the process in the Prometheus text format.
	Metrics http.Handler

	shutdown func(context.Context) error
}

// Option changes what New makes.
type Option func(*options)

type options struct {
	writer     io.Writer
	processors []sdktrace.SpanProcessor
}

// WithWriter sends the log to w instead of standard error. w must allow
// concurrent use only in so far as the handler serialises its writes.
func WithWriter(w io.Writer) Option { return func(o *options) { o.writer = w } }

// WithSpanProcessor adds a processor of finished spans, beside the exporter.
func WithSpanProcessor(p sdktrace.SpanProcessor) Option {
	return func(o *options) { o.processors = append(o.processors, p) }
}

// New returns the telemetry of the named service at the given version. A trace
// collector that cannot be reached is no error: spans are dropped and a log line
// says so, once, and once again when it is back.
func New(ctx context.Context, service, version string, cfg Config, opts ...Option) (*Telemetry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	o := options{writer: os.Stderr}
	for _, opt := range opts {
		opt(&o)
	}
	level := new(slog.LevelVar)
	if err := setLevel(level, cfg.Log.Level); err != nil {
		return nil, err
	}
	log := slog.New(newHandler(o.writer, cfg.Log.Format, level)).With(slog.String("service", service))

	res := describe(service, version)
	tp, stop, err := newTracerProvider(ctx, cfg.Traces, res, o.processors, log)
	if err != nil {
		return nil, err
	}
	mp, metrics, err := newMeterProvider(res)
	if err != nil {
		return nil, errors.Join(err, stop(ctx))
	}
	return &Telemetry{
		Log: log, Level: level, TracerProvider: tp, MeterProvider: mp, Metrics: metrics,
		shutdown: func(ctx context.Context) error { return errors.Join(stop(ctx), mp.Shutdown(ctx)) },
	}, nil
}

// Discard returns a Telemetry for tests: it makes real, sampled spans that
// propagate, counts real metrics, and writes nothing.
func Discard() *Telemetry {
	tp := sdktrace.NewTracerProvider()
	mp := sdkmetric.NewMeterProvider()
	return &Telemetry{
		Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar),
		TracerProvider: tp, MeterProvider: mp, Metrics: http.NotFoundHandler(),
		shutdown: func(ctx context.Context) error { return errors.Join(tp.Shutdown(ctx), mp.Shutdown(ctx)) },
	}
}

// Tracer returns the tracer of the named part of the program, by custom its
// import path.
func (t *Telemetry) Tracer(name string) trace.Tracer { return t.TracerProvider.Tracer(name) }

// Meter returns the meter of the named part of the program, by custom its import
// path.
func (t *Telemetry) Meter(name string) metric.Meter { return t.MeterProvider.Meter(name) }

// Shutdown exports what is still held and stops. It waits no longer than ctx.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if err := t.shutdown(ctx); err != nil {
		return fmt.Errorf("shutting down telemetry: %w", err)
	}
	return nil
}

// describe names the process in every span and metric. The instance tells the
// replicas of a service apart.
func describe(service, version string) *resource.Resource {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return resource.NewSchemaless(
		attribute.String("service.name", service),
		attribute.String("service.version", version),
		attribute.String("service.instance.id", host+"-"+strconv.Itoa(os.Getpid())),
	)
}

// newMeterProvider collects into a registry of its own, beside the metrics of
// the Go runtime and of the process.
func newMeterProvider(res *resource.Resource) (*sdkmetric.MeterProvider, http.Handler, error) {
	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, nil, fmt.Errorf("registering process metrics: %w", err)
		}
	}
	exporter, err := otelprom.New(otelprom.WithRegisterer(reg), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, nil, fmt.Errorf("making the metrics exporter: %w", err)
	}
	seconds := sdkmetric.NewView(
		sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram, Unit: "s"},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: secondBuckets()}},
	)
	mp := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(exporter), sdkmetric.WithResource(res), sdkmetric.WithView(seconds))
	return mp, promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}), nil
}

// secondBuckets are the bounds of every histogram measured in seconds: fine
// where a one-time password lives, coarse where a retry does.
func secondBuckets() []float64 {
	return []float64{
		0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
		1, 2.5, 5, 10, 30, 60, 300,
	}
}
