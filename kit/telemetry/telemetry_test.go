package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"kurir.dev/kit/telemetry"
)

func newTelemetry(t *testing.T, cfg telemetry.Config, opts ...telemetry.Option) (*telemetry.Telemetry, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	tel, err := telemetry.New(t.Context(), "router", "v1.2.3", cfg, append(opts, telemetry.WithWriter(&log))...)
	if err != nil {
		t.Fatalf("New() = %v, want nil", err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Shutdown() = %v, want nil", err)
		}
	})
	return tel, &log
}

func TestLogCarriesTheTrace(t *testing.T) {
	t.Parallel()
	tel, log := newTelemetry(t, telemetry.Default())
	ctx, span := tel.Tracer("test").Start(t.Context(), "submit")
	tel.Log.With(slog.String("lane", "otp")).InfoContext(ctx, "accepted", slog.Int("attempt", 1))
	span.End()

	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("log line %q: %v", log, err)
	}
	want := map[string]any{
		"service": "router", "msg": "accepted", "level": "INFO", "lane": "otp", "attempt": 1.0,
		"trace_id": span.SpanContext().TraceID().String(),
		"span_id":  span.SpanContext().SpanID().String(),
	}
	for k, v := range want {
		if line[k] != v {
			t.Errorf("log[%q] = %v, want %v", k, line[k], v)
		}
	}

	log.Reset()
	tel.Log.InfoContext(t.Context(), "alone")
	if strings.Contains(log.String(), "trace_id") {
		t.Errorf("log without span = %q, want no trace_id", log)
	}
}

func TestLogFormatAndLevel(t *testing.T) {
	t.Parallel()
	cfg := telemetry.Default()
	cfg.Log = telemetry.LogConfig{Level: "warn", Format: "text"}
	tel, log := newTelemetry(t, cfg)
	tel.Log.InfoContext(t.Context(), "hidden")
	tel.Log.WarnContext(t.Context(), "shown")
	tel.Level.Set(slog.LevelDebug)
	tel.Log.DebugContext(t.Context(), "lowered")
	got := log.String()
	if strings.Contains(got, "hidden") || !strings.Contains(got, "level=WARN msg=shown") || !strings.Contains(got, "msg=lowered") {
		t.Errorf("log = %q, want shown and lowered as text, not hidden", got)
	}
}

func TestPropagation(t *testing.T) {
	t.Parallel()
	tel := telemetry.Discard()
	ctx, span := tel.Tracer("test").Start(t.Context(), "parent")
	defer span.End()
	parent, state := telemetry.Inject(ctx)
	if parent == "" {
		t.Fatal("Inject() gave no traceparent")
	}
	got := trace.SpanContextFromContext(telemetry.Extract(t.Context(), parent, state))
	if got.TraceID() != span.SpanContext().TraceID() || got.SpanID() != span.SpanContext().SpanID() || !got.IsRemote() || !got.IsSampled() {
		t.Errorf("Extract(Inject(ctx)) = %v, want the remote, sampled %v", got, span.SpanContext())
	}
	if p, s := telemetry.Inject(t.Context()); p != "" || s != "" {
		t.Errorf("Inject(no span) = %q, %q, want nothing", p, s)
	}
	for _, bad := range []string{"", "00-xyz", "00-00000000000000000000000000000000-0000000000000000-01"} {
		if sc := trace.SpanContextFromContext(telemetry.Extract(t.Context(), bad, "")); sc.IsValid() {
			t.Errorf("Extract(%q) = %v, want no span", bad, sc)
		}
	}
}

func TestSamplingFollowsTheCaller(t *testing.T) {
	t.Parallel()
	seen := tracetest.NewSpanRecorder()
	cfg := telemetry.Default()
	cfg.Traces.Ratio = 0
	tel, _ := newTelemetry(t, cfg, telemetry.WithSpanProcessor(seen))

	_, own := tel.Tracer("test").Start(t.Context(), "own")
	own.End()
	remote := telemetry.Extract(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "")
	_, followed := tel.Tracer("test").Start(remote, "followed")
	followed.End()

	var names []string
	for _, s := range seen.Ended() {
		names = append(names, s.Name())
	}
	if len(names) != 1 || names[0] != "followed" {
		t.Errorf("sampled spans = %v, want [followed]", names)
	}
	res := seen.Ended()[0].Resource().String()
	for _, want := range []string{"service.name=router", "service.version=v1.2.3"} {
		if !strings.Contains(res, want) {
			t.Errorf("resource = %s, want %s in it", res, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	tel, _ := newTelemetry(t, telemetry.Default())
	c, err := tel.Meter("test").Int64Counter("kurir_router_mails")
	if err != nil {
		t.Fatal(err)
	}
	c.Add(t.Context(), 0)
	rec := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	body, err := io.ReadAll(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"kurir_router_mails_total 0", "go_goroutines", "process_open_fds",
		`service_name="router"`, `service_version="v1.2.3"`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	cfg := telemetry.Config{
		Log:    telemetry.LogConfig{Level: "loud", Format: "xml"},
		Traces: telemetry.TracesConfig{Ratio: 1.5},
	}
	_, err := telemetry.New(t.Context(), "router", "v", cfg)
	if err == nil {
		t.Fatal("New(bad config) = nil, want an error")
	}
	for _, want := range []string{"log.level", "log.format", "traces.ratio"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("New(bad config) = %v, want %s named", err, want)
		}
	}
	if err := telemetry.Default().Validate(); err != nil {
		t.Errorf("Default().Validate() = %v, want nil", err)
	}
}
