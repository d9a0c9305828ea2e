package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"kurir.dev/kit/telemetry"
)

// Ops returns the Part that serves operators over HTTP at listen: the pages of
// OpsHandler. Keep it on loopback or behind a wall: it needs no credentials. An
// empty listen turns it off. A port that is taken is a *ListenError of Start.
func Ops(listen string, t *telemetry.Telemetry, ready *Ready, printConfig func(io.Writer) error) Part {
	if listen == "" {
		return Part{Name: "ops"}
	}
	srv := &http.Server{
		Handler:           OpsHandler(t, ready, printConfig),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(t.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	return Part{
		Name:   "ops",
		Failed: failed,
		Start: func(ctx context.Context) error {
			l, err := Listen(ctx, listen, "choose another with the key ops")
			if err != nil {
				return err
			}
			t.Log.InfoContext(ctx, "ops listening", slog.String("addr", l.Addr().String()))
			go func() {
				defer close(failed)
				if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
					failed <- err
				}
			}()
			return nil
		},
		Stop: func(ctx context.Context) error {
			if err := srv.Shutdown(ctx); err != nil {
				return errors.Join(err, srv.Close())
			}
			return nil
		},
	}
}

// OpsHandler serves
//
//	/metrics        all metrics, in the Prometheus text format
//	/healthz        200 while the process runs
//	/readyz         200 if ready is, else 503 and the reasons
//	/debug/config   the effective configuration as printConfig writes it, redacted
//	/debug/pprof/   profiles
//
// A nil ready is always ready; a nil printConfig leaves its page out.
func OpsHandler(t *telemetry.Telemetry, ready *Ready, printConfig func(io.Writer) error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", t.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if ready != nil {
			if ok, why := ready.OK(); !ok {
				answer(w, http.StatusServiceUnavailable, why+"\n")
				return
			}
		}
		answer(w, http.StatusOK, "ready\n")
	})
	if printConfig != nil {
		mux.HandleFunc("GET /debug/config", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			if err := printConfig(w); err != nil {
				t.Log.WarnContext(r.Context(), "printing the configuration failed", slog.Any("error", err))
			}
		})
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	// The reader went away: there is nobody left to tell.
	_, _ = io.WriteString(w, text)
}
