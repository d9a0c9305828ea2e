package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"kurir.dev/kit/app"
	"kurir.dev/kit/telemetry"
)

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestOpsHandler(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.New(t.Context(), "router", "v1", telemetry.Default(), telemetry.WithWriter(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	ready := app.NewReady()
	ready.Set("broker", false, "unreachable")
	srv := httptest.NewServer(app.OpsHandler(tel, ready, func(w io.Writer) error {
		_, err := io.WriteString(w, "listen: 127.0.0.1:7420\n")
		return err
	}))
	defer srv.Close()
	tests := []struct {
		path string
		code int
		want string
	}{
		{"/healthz", http.StatusOK, "ok"},
		{"/readyz", http.StatusServiceUnavailable, "broker: unreachable"},
		{"/metrics", http.StatusOK, "go_goroutines"},
		{"/debug/config", http.StatusOK, "listen: 127.0.0.1:7420"},
		{"/debug/pprof/", http.StatusOK, "goroutine"},
		{"/nothing", http.StatusNotFound, ""},
	}
	for _, tt := range tests {
		if code, body := get(t, srv.Client(), srv.URL+tt.path); code != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("GET %s = %d %.80q, want %d and %q", tt.path, code, body, tt.code, tt.want)
		}
	}
	ready.Set("broker", true, "")
	if code, _ := get(t, srv.Client(), srv.URL+"/readyz"); code != http.StatusOK {
		t.Errorf("GET /readyz = %d, want 200 once ready", code)
	}
}

func TestOps(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	tel, err := telemetry.New(t.Context(), "router", "v1", telemetry.Default(), telemetry.WithWriter(&log))
	if err != nil {
		t.Fatal(err)
	}
	part := app.Ops("127.0.0.1:0", tel, app.NewReady(), nil)
	if err := part.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v, want nil", err)
	}
	var line struct{ Addr string }
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if code, body := get(t, http.DefaultClient, "http://"+line.Addr+"/readyz"); code != http.StatusOK {
		t.Errorf("GET /readyz = %d %q, want 200", code, body)
	}
	http.DefaultClient.CloseIdleConnections()

	taken := app.Ops(line.Addr, tel, nil, nil)
	err = taken.Start(t.Context())
	var le *app.ListenError
	if !errors.As(err, &le) || !errors.Is(err, syscall.EADDRINUSE) || le.Addr != line.Addr {
		t.Errorf("Start(taken port) = %v, want a ListenError with the address", err)
	}

	if err := part.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("Stop() = %v, want nil", err)
	}
	if err := <-part.Failed; err != nil {
		t.Errorf("Failed = %v, want it closed", err)
	}
	if off := app.Ops("", tel, nil, nil); off.Start != nil || off.Stop != nil {
		t.Error(`Ops("") has something to do, want it off`)
	}
}

func TestListenErrorText(t *testing.T) {
	t.Parallel()
	l, err := app.Listen(t.Context(), "127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	addr := l.Addr().String()
	_, err = app.Listen(t.Context(), addr, "choose another with -listen")
	if want := "listen " + addr + ": address already in use: choose another with -listen"; err == nil || err.Error() != want {
		t.Errorf("Listen(taken) = %v, want %s", err, want)
	}
	_, err = app.Listen(t.Context(), "127.0.0.1:99999", "")
	if _, ok := errors.AsType[*net.AddrError](err); !ok {
		t.Errorf("Listen(bad port) = %v, want an AddrError", err)
	}
}
