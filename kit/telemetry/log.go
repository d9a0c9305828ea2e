package telemetry

import (
	"context"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// handler adds the current trace to each record. It adds it where the logger
// stands: after Logger.WithGroup the ids land inside that group, so loggers of
// this project carry attributes and no groups.
type handler struct{ slog.Handler }

func newHandler(w io.Writer, format string, level slog.Leveler) slog.Handler {
	opts := &slog.HandlerOptions{Level: level}
	if format == "text" {
		return newCalm(handler{slog.NewTextHandler(w, opts)})
	}
	opts.ReplaceAttr = spellOut
	return newCalm(handler{slog.NewJSONHandler(w, opts)})
}

// spellOut writes a duration with its unit, "1.5s", where JSON would give a bare
// number of nanoseconds.
func spellOut(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// Handle writes r with the ids of the span in ctx, if there is one.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r = r.Clone()
		r.AddAttrs(
			slog.String("trace_id", sc.TraceID().String()),
			slog.String("span_id", sc.SpanID().String()),
		)
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapper around a handler with more attributes.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapper around a handler with a group opened.
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name)}
}
