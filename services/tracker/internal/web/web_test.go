package web_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"kurir.dev/kit/token"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/spool"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/web"
)

// hits remembers what was recorded.
type hits struct {
	seen  []spool.Hit
	unsub []spool.Hit
	err   error
}

func (h *hits) Record(_ context.Context, hit spool.Hit) { h.seen = append(h.seen, hit) }

func (h *hits) Unsubscribe(_ context.Context, hit spool.Hit) error {
	h.unsub = append(h.unsub, hit)
	return h.err
}

type noMails struct{}

func (noMails) Mail(context.Context, string, string) (mail.Mail, error) {
	return mail.Mail{}, store.ErrUnknown
}

func newDoor(tb testing.TB, proxies ...string) (http.Handler, *token.Ring, *hits) {
	tb.Helper()
	ring, h := token.Generate(), &hits{}
	cfg := web.Config{Timeout: time.Second, Idle: time.Second}
	for _, p := range proxies {
		cfg.TrustedProxies = append(cfg.TrustedProxies, netip.MustParsePrefix(p))
	}
	d, err := web.New(web.Deps{
		Log: slog.New(slog.DiscardHandler), Tokens: ring, Hits: h, Mails: noMails{},
		Now: func() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) },
	}, cfg)
	if err != nil {
		tb.Fatalf("New() = %v", err)
	}
	return d.Handler(), ring, h
}

const mailID = "01900000-0000-7000-8000-000000000001"

func ask(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestClickKeepsTheTarget(t *testing.T) {
	t.Parallel()
	h, ring, seen := newDoor(t)
	for target, want := range map[string]string{
		"https://pay.example":                 "https://pay.example?kurir_click=",
		"https://pay.example/?":               "https://pay.example/?kurir_click=",
		"https://pay.example/a?b=c":           "https://pay.example/a?b=c&kurir_click=",
		"https://pay.example/a?b=c&":          "https://pay.example/a?b=c&kurir_click=",
		"https://pay.example/a?b=%2F+x#top?x": "https://pay.example/a?b=%2F+x&kurir_click=",
		"https://pay.example/ä?ö=ü":           "https://pay.example/%C3%A4?%C3%B6=%C3%BC&kurir_click=",
	} {
		res := ask(h, httptest.NewRequest(http.MethodGet, "/c/"+ring.Sign(token.Claims{Tenant: "t", MailID: mailID, Link: "pay", URL: target}), nil))
		id := seen.seen[len(seen.seen)-1].ID
		_, fragment, _ := strings.Cut(target, "#")
		if fragment != "" {
			fragment = "#" + fragment
		}
		if got := res.Header.Get("Location"); res.StatusCode != http.StatusFound || got != want+id+fragment {
			t.Errorf("click on %q leads to %q (%s), want %q", target, got, res.Status, want+id+fragment)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h, ring, _ := newDoor(t)
	claims := token.Claims{Tenant: "t", MailID: mailID, Unsubscribe: true}
	for _, path := range []string{"/", "/o/x.gif", "/u/" + ring.Sign(claims), "/c/x"} {
		res := ask(h, httptest.NewRequest(http.MethodGet, path, nil))
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"X-Frame-Options": "DENY", "X-Robots-Tag": "noindex", "Content-Security-Policy": "default-src 'none'",
		} {
			if got := res.Header.Get(name); !strings.Contains(got, want) {
				t.Errorf("GET %s: %s = %q, want %q", path, name, got, want)
			}
		}
	}
}

// TestStyleIsAllowed compares the page's style with what its policy lets in.
func TestStyleIsAllowed(t *testing.T) {
	t.Parallel()
	h, _, _ := newDoor(t)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	m := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(w.Body.String())
	if m == nil {
		t.Fatal("page has no style")
	}
	sum := sha256.Sum256([]byte(m[1]))
	if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(w.Header().Get("Content-Security-Policy"), want) {
		t.Errorf("policy = %q, want %s in it", w.Header().Get("Content-Security-Policy"), want)
	}
}

func TestLanguages(t *testing.T) {
	t.Parallel()
	h, _, _ := newDoor(t)
	for accept, want := range map[string]string{
		"": "id", "id-ID,id;q=0.9,en;q=0.8": "id", "en-US,en;q=0.9": "en", "fr": "en", "jv;q=0.5, id;q=0.4": "id", ";;;": "id",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", accept)
		if got := ask(h, r).Header.Get("Content-Language"); got != want {
			t.Errorf("Accept-Language %q: page in %q, want %q", accept, got, want)
		}
	}
}

func TestUnsubscribeForms(t *testing.T) {
	t.Parallel()
	h, ring, seen := newDoor(t)
	path := "/u/" + ring.Sign(token.Claims{Tenant: "t", MailID: mailID, Unsubscribe: true})
	post := func(kind, body string) int {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		return ask(h, r).StatusCode
	}
	var form strings.Builder
	m := multipart.NewWriter(&form)
	if err := errors.Join(m.WriteField("List-Unsubscribe", "One-Click"), m.Close()); err != nil {
		t.Fatalf("writing the form: %v", err)
	}
	const urlencoded = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, kind, body string
		want             int
	}{
		{"urlencoded", urlencoded, "List-Unsubscribe=One-Click", http.StatusOK},
		{"multipart", m.FormDataContentType(), form.String(), http.StatusOK},
		{"nothing", urlencoded, "", http.StatusBadRequest},
		{"something else", urlencoded, "List-Unsubscribe=Perhaps", http.StatusBadRequest},
		{"JSON", "application/json", `{"List-Unsubscribe":"One-Click"}`, http.StatusBadRequest},
		{"too large", urlencoded, "x=" + strings.Repeat("y", 9000) + "&List-Unsubscribe=One-Click", http.StatusBadRequest},
	} {
		before := len(seen.unsub)
		if got := post(c.kind, c.body); got != c.want || (len(seen.unsub) > before) != (c.want == http.StatusOK) {
			t.Errorf("%s: POST = %d with %d unsubscribed, want %d", c.name, got, len(seen.unsub)-before, c.want)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		before := len(seen.unsub)
		if res := ask(h, httptest.NewRequest(method, path, nil)); res.StatusCode != http.StatusOK || len(seen.unsub) != before {
			t.Errorf("%s = %s with %d unsubscribed, want 200 and none", method, res.Status, len(seen.unsub)-before)
		}
	}
	seen.err = errors.New("no store")
	if got := post(urlencoded, "List-Unsubscribe=One-Click"); got != http.StatusServiceUnavailable {
		t.Errorf("POST without a store = %d, want 503", got)
	}
	if res := ask(h, httptest.NewRequest(http.MethodDelete, path, nil)); res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("DELETE = %s, want 404 or 405", res.Status)
	}
}

func TestClientBehindProxies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, peer, forwarded, want string
	}{
		{"no proxy", "203.0.113.9:1", "198.51.100.7", "203.0.113.0/24"},
		{"a proxy", "10.0.0.1:1", "198.51.100.7", "198.51.100.0/24"},
		{"two proxies, one lie", "10.0.0.1:1", "192.0.2.1, 198.51.100.7, 10.9.9.9", "198.51.100.0/24"},
		{"a proxy that says nothing", "10.0.0.1:1", "", "10.0.0.0/24"},
		{"a proxy that talks nonsense", "10.0.0.1:1", "x", "10.0.0.0/24"},
		{"IPv6", "[2001:db8:1:2::3]:1", "", "2001:db8:1::/48"},
		{"no address", "@", "", ""},
	} {
		h, ring, seen := newDoor(t, "10.0.0.0/8")
		r := httptest.NewRequest(http.MethodGet, "/o/"+ring.Sign(token.Claims{Tenant: "t", MailID: mailID})+".gif", nil)
		r.RemoteAddr = c.peer
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		ask(h, r)
		if len(seen.seen) != 1 || seen.seen[0].Network != c.want {
			t.Errorf("%s: network = %+v, want %q", c.name, seen.seen, c.want)
		}
	}
}

// FuzzDoor throws paths at the door: without a token of ours there is never a
// redirect, a hit, or a fault of the server.
func FuzzDoor(f *testing.F) {
	h, ring, seen := newDoor(f)
	f.Add("GET", "/c/"+token.Generate().Sign(token.Claims{Tenant: "t", MailID: mailID, URL: "https://x.example"}), "id")
	f.Add("POST", "/u/x", "en")
	f.Add("HEAD", "/o/.gif", "*")
	f.Add("GET", "//evil.example/%2e%2e", "")
	_ = ring
	f.Fuzz(func(t *testing.T, method, path, lang string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		r := &http.Request{
			Method: method, URL: u, Header: http.Header{"Accept-Language": {lang}}, Body: http.NoBody, RemoteAddr: "192.0.2.1:1", Proto: "HTTP/1.1",
		}
		res := ask(h, r.WithContext(t.Context()))
		if res.StatusCode >= 500 || (res.Header.Get("Location") != "" && strings.Contains(res.Header.Get("Location"), "//")) || len(seen.seen) > 0 {
			t.Errorf("%s %q = %s to %q with %d hits", method, path, res.Status, res.Header.Get("Location"), len(seen.seen))
		}
	})
}
