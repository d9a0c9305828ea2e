package sandbox_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/telemetry"
	"kurir.dev/services/dispatcher/internal/sandbox"
)

const letter = "From: =?utf-8?q?Toko_Se=C3=B1or?= <no-reply@example.com>\r\nTo: ana@example.org\r\nSubject: =?utf-8?q?Kode_=E2=9C=93?=\r\n" +
	"Date: Mon, 02 Jan 2006 15:04:05 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n" +
	"--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n" +
	"--a\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nYour code is 123456=\r\n.\r\n" +
	"--a\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
	"PGh0bWw+PGhlYWQ+PC9oZWFkPjxib2R5PjxoMT5Zb3VyIGNvZGUgaXMgPGI+MTIzNDU2PC9iPjwvaDE+PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0PjxpbWcgc3JjPSJjaWQ6bG9nbyI+PC9ib2R5PjwvaHRtbD4=\r\n--a--\r\n" +
	"--m\r\nContent-Type: image/png; name=logo.png\r\nContent-ID: <logo>\r\nContent-Disposition: inline; filename=logo.png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--m--\r\n"

func open(tb testing.TB, change func(*sandbox.Config)) *sandbox.Inbox {
	tb.Helper()
	cfg := sandbox.Default()
	cfg.SMTPListen, cfg.PageListen = "127.0.0.1:0", "127.0.0.1:0"
	if change != nil {
		change(&cfg)
	}
	in, err := sandbox.New(tb.Context(), cfg, telemetry.Discard().Log, time.Now)
	if err != nil {
		tb.Fatal(err)
	}
	part := in.Part()
	if err := part.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := part.Stop(ctx); err != nil {
			tb.Errorf("Stop() = %v", err)
		}
	})
	return in
}

func deliver(tb testing.TB, in *sandbox.Inbox, to string, message string) {
	tb.Helper()
	if err := smtp.SendMail(in.Addr().String(), nil, "b+x@bounce.example.com", []string{to}, []byte(message)); err != nil {
		tb.Fatal(err)
	}
}

type page struct {
	status int
	header http.Header
	body   string
}

func get(tb testing.TB, in *sandbox.Inbox, path string) page {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+in.PageAddr().String()+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return page{resp.StatusCode, resp.Header, string(body)}
}

func TestPages(t *testing.T) {
	t.Parallel()
	in := open(t, nil)
	if p := get(t, in, "/"); p.status != 200 || !strings.Contains(p.body, "Nothing has arrived yet") {
		t.Errorf("the empty list: %d %s", p.status, p.body)
	}
	deliver(t, in, "ana@example.org", letter)
	deliver(t, in, "budi@example.org", "Subject: <script>alert(1)</script>\r\n\r\nplain\r\n")
	tests := []struct {
		path     string
		holds    []string
		holdsNot []string
	}{
		{"/", []string{"Kode ✓", "ana@example.org", "2 mails", "&lt;script&gt;", `href="/mail/1"`}, []string{"<script>alert"}},
		{"/?q=kode", []string{"1 found among 2", "Kode ✓"}, []string{"budi"}},
		{"/?q=%25", []string{"No mail matches"}, nil},
		{"/rows", []string{"<table>"}, []string{"<html"}},
		{"/mail/1", []string{"Toko Señor", "<iframe", `sandbox="allow-popups`, "logo.png"}, []string{"123456"}},
		{"/mail/1?view=text", []string{"Your code is 123456."}, []string{"<iframe"}},
		{"/mail/1?view=headers", []string{"multipart/mixed"}, []string{"123456"}},
		{"/mail/1?view=raw", []string{"--m--"}, nil},
		{"/mail/1/html", []string{"<base target=\"_blank\">", "123456", "data:image/png;base64,"}, []string{"cid:"}},
		{"/mail/2", []string{"plain"}, []string{"<iframe", "<script>alert"}},
		{"/style.css", []string{"prefers-color-scheme"}, nil},
		{"/live.js", []string{"/rows"}, nil},
	}
	for _, tt := range tests {
		p := get(t, in, tt.path)
		if p.status != 200 || p.header.Get("Content-Security-Policy") == "" || p.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", tt.path, p.status, p.header)
		}
		for _, s := range tt.holds {
			if !strings.Contains(p.body, s) {
				t.Errorf("%s lacks %q:\n%s", tt.path, s, p.body)
			}
		}
		for _, s := range tt.holdsNot {
			if strings.Contains(p.body, s) {
				t.Errorf("%s holds %q:\n%s", tt.path, s, p.body)
			}
		}
	}
	policy := get(t, in, "/mail/1/html").header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "sandbox") || strings.Contains(policy, "script") || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("a mail's policy %q lets too much", policy)
	}
	raw := get(t, in, "/mail/1/raw")
	if raw.body != letter || !strings.Contains(raw.header.Get("Content-Disposition"), "mail-1.eml") {
		t.Errorf("the download differs: %q", raw.body)
	}
	for _, path := range []string{"/mail/99", "/mail/x", "/none"} {
		if p := get(t, in, path); p.status != 404 {
			t.Errorf("%s: %d, want 404", path, p.status)
		}
	}
}

func TestKeepsTheNewest(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "inbox.db")
	in := open(t, func(c *sandbox.Config) { c.Keep, c.Path = 5, file })
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { deliver(t, in, "ana@example.org", "Subject: n"+strconv.Itoa(i)+"\r\n\r\nx\r\n") })
	}
	wg.Wait()
	if p := get(t, in, "/"); !strings.Contains(p.body, "5 mails") {
		t.Errorf("the list does not say 5 mails:\n%s", p.body)
	}
	if p := get(t, in, "/mail/1"); p.status != 404 {
		t.Errorf("the oldest mail: %d, want 404", p.status)
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	cfg := sandbox.Default()
	cfg.SMTPListen, cfg.PageListen = "127.0.0.1:0", l.Addr().String()
	if _, err := sandbox.New(t.Context(), cfg, telemetry.Discard().Log, time.Now); err == nil || !strings.Contains(err.Error(), "page_listen") {
		t.Errorf("New on a taken port = %v, want an error that says what to change", err)
	}
}

// TestLook makes pictures of the page for whoever wants to see it: set
// KURIR_SCREENSHOTS to a directory.
func TestLook(t *testing.T) {
	dir := os.Getenv("KURIR_SCREENSHOTS")
	browser, err := exec.LookPath("chromium")
	if dir == "" || err != nil {
		return
	}
	in := open(t, nil)
	shoot := func(name, path string, size string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+t.TempDir(),
			"--window-size="+size, "--screenshot="+filepath.Join(dir, name+".png"), "http://"+in.PageAddr().String()+path)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("chromium: %v\n%s", err, bytes.TrimSpace(out))
		}
	}
	shoot("empty", "/", "1200,500")
	for i := range 12 {
		deliver(t, in, "pelanggan"+strconv.Itoa(i)+"@contoh.example", strings.Replace(letter, "Kode_=E2=9C=93", "Tagihan_Anda_bulan_Juni_=E2=9C=93_"+strconv.Itoa(i), 1))
	}
	shoot("list", "/", "1200,700")
	shoot("list-mobile", "/", "500,900")
	shoot("mail", "/mail/3", "1200,900")
	shoot("mail-mobile", "/mail/3", "500,900")
	shoot("mail-headers", "/mail/3?view=headers", "1200,700")
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(letter))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if p := sandbox.Read(raw); len(p) > 16*len(raw)+1024 {
			t.Errorf("%d bytes came out of %d", len(p), len(raw))
		}
	})
}
