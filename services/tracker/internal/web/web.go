// Package web is the door that readers' mail programs and browsers come to:
//
//	/o/<token>.gif   the pixel: an open
//	/c/<token>       a link: a click, and on to where the link leads
//	/u/<token>       unsubscribing, with a page or in one click (RFC 8058)
//
// Everything comes from a token that Kurir signed when it made the mail; without
// a good one there is a plain 404 and never a redirect. Answers wait for nothing
// but a signature, save for unsubscribing, which is in the store before it is
// said to be done. No cookies, no scripts, nothing from elsewhere.
package web

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"kurir.dev/kit/app"
	"kurir.dev/kit/token"
	"kurir.dev/services/tracker/internal/hit"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/spool"
)

// ClickParam is the query parameter that carries the click's id to the page a
// link leads to.
const ClickParam = "kurir_click"

const (
	maxHeader = 16 << 10
	maxBody   = 8 << 10
)

// Config bounds the door.
type Config struct {
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	Timeout        time.Duration  // for a request, and for its answer
	Idle           time.Duration  // between requests of a connection
}

// Recorder records hits; spool.Spool is one.
type Recorder interface {
	Record(ctx context.Context, h spool.Hit)
	Unsubscribe(ctx context.Context, h spool.Hit) error
}

// Mails finds the mail a page is about; the tracker's store is one.
type Mails interface {
	Mail(ctx context.Context, tenant, id string) (mail.Mail, error)
}

// Deps are what a Door works with; all are required.
type Deps struct {
	Log    *slog.Logger
	Tokens *token.Ring
	Hits   Recorder
	Mails  Mails
	Now    func() time.Time
}

// Door serves the pages; make it with New.
type Door struct {
	deps  Deps
	cfg   Config
	pages *pages
	csp   string
	pixel []byte
}

// New makes a door.
func New(deps Deps, cfg Config) (*Door, error) {
	p, err := newPages()
	if err != nil {
		return nil, err
	}
	// A transparent GIF of one pixel.
	pixel, err := base64.StdEncoding.DecodeString("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
	if err != nil {
		return nil, err
	}
	csp := "default-src 'none'; style-src '" + p.styleHash + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return &Door{deps: deps, cfg: cfg, pages: p, csp: csp, pixel: pixel}, nil
}

// Handler is the door without its listener.
func (d *Door) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /o/{token}", d.open)
	mux.HandleFunc("GET /c/{token}", d.click)
	mux.HandleFunc("GET /u/{token}", d.ask)
	mux.HandleFunc("POST /u/{token}", d.unsubscribe)
	mux.HandleFunc("GET /robots.txt", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("User-agent: *\nDisallow: /\n")) // the reader went away: there is nobody left to tell
	})
	mux.HandleFunc("/", d.missing)
	return d.guard(mux)
}

// guard sets what every answer has.
func (d *Door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", d.csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		h.Set("Cache-Control", "no-store, max-age=0")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// Part serves at l from Start to Stop, which lets running requests end.
func (d *Door) Part(l net.Listener) app.Part {
	srv := &http.Server{
		Handler: d.Handler(), ReadHeaderTimeout: d.cfg.Timeout, ReadTimeout: d.cfg.Timeout, WriteTimeout: 2 * d.cfg.Timeout,
		IdleTimeout: d.cfg.Idle, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(d.deps.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	return app.Part{
		Name: "http", Failed: failed,
		Start: func(context.Context) error {
			go func() { // ends with Shutdown or Close
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

// open answers the pixel.
func (d *Door) open(w http.ResponseWriter, r *http.Request) {
	name, isGIF := strings.CutSuffix(r.PathValue("token"), ".gif")
	claims, err := d.deps.Tokens.Verify(name)
	if err != nil || !isGIF || claims.URL != "" || claims.Unsubscribe {
		d.missing(w, r)
		return
	}
	d.deps.Hits.Record(r.Context(), d.hit(r, claims))
	h := w.Header()
	h.Set("Content-Type", "image/gif")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // webmail shows it on its own pages
	_, _ = w.Write(d.pixel)                               // the reader went away: there is nobody left to tell
}

// click sends the reader on to where the link leads.
func (d *Door) click(w http.ResponseWriter, r *http.Request) {
	claims, err := d.deps.Tokens.Verify(r.PathValue("token"))
	if err != nil || claims.URL == "" || claims.Unsubscribe {
		d.missing(w, r)
		return
	}
	h := d.hit(r, claims)
	h.Request.Click = true
	d.deps.Hits.Record(r.Context(), h)
	w.Header().Set("Location", withClick(claims.URL, h.ID))
	w.WriteHeader(http.StatusFound)
}

// ask shows the page that asks whether to unsubscribe. A fetch alone never
// does: scanners follow every link (RFC 8058 §1).
func (d *Door) ask(w http.ResponseWriter, r *http.Request) {
	claims, ok := d.unsubscribable(w, r)
	if ok {
		d.pages.show(w, r, http.StatusOK, "ask", d.about(r, claims))
	}
}

// unsubscribe does it, for the page's form and for a mail program's one click
// (RFC 8058 §3.1): a POST with List-Unsubscribe=One-Click, without cookies or
// other context, never answered by a redirect.
func (d *Door) unsubscribe(w http.ResponseWriter, r *http.Request) {
	claims, ok := d.unsubscribable(w, r)
	if !ok {
		return
	}
	if !oneClick(r) {
		d.pages.show(w, r, http.StatusBadRequest, "bad", about{})
		return
	}
	if err := d.deps.Hits.Unsubscribe(r.Context(), d.hit(r, claims)); err != nil {
		d.deps.Log.ErrorContext(r.Context(), "unsubscribing failed", slog.Any("error", err))
		w.Header().Set("Retry-After", "60")
		d.pages.show(w, r, http.StatusServiceUnavailable, "later", about{})
		return
	}
	d.pages.show(w, r, http.StatusOK, "done", d.about(r, claims))
}

// oneClick tells whether the body asks for one-click unsubscribing, in either of
// the forms RFC 8058 §3.2 allows.
func oneClick(r *http.Request) bool {
	var err error
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		err = r.ParseMultipartForm(maxBody) //nolint:gosec // guard bounds the body
	} else {
		err = r.ParseForm()
	}
	return err == nil && r.PostForm.Get("List-Unsubscribe") == "One-Click"
}

// unsubscribable verifies the token of an unsubscribe address.
func (d *Door) unsubscribable(w http.ResponseWriter, r *http.Request) (token.Claims, bool) {
	claims, err := d.deps.Tokens.Verify(r.PathValue("token"))
	if err != nil || !claims.Unsubscribe {
		d.missing(w, r)
		return token.Claims{}, false
	}
	return claims, true
}

func (d *Door) missing(w http.ResponseWriter, r *http.Request) {
	d.pages.show(w, r, http.StatusNotFound, "missing", about{})
}

// hit is what is known of a request that came with good claims.
func (d *Door) hit(r *http.Request, c token.Claims) spool.Hit {
	now := d.deps.Now()
	return spool.Hit{
		ID: hit.NewID(now), Tenant: c.Tenant, MailID: c.MailID, Link: c.Link, URL: c.URL,
		Network: hit.Network(d.client(r)),
		Request: hit.Request{Method: r.Method, UserAgent: r.UserAgent(), Purpose: purpose(r.Header), At: now},
	}
}

// purpose is what the client says it fetches for.
func purpose(h http.Header) string {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return ""
}

// client is the address of the client: the peer's, or where the peer is a
// trusted proxy the last of X-Forwarded-For that is not.
func (d *Door) client(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && d.trusted(at); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = next.Unmap()
	}
	return at
}

func (d *Door) trusted(a netip.Addr) bool {
	for _, p := range d.cfg.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// withClick adds the click's id to a link's target and leaves the rest of it as
// it was signed; bytes outside ASCII are escaped, for a header.
func withClick(target, id string) string {
	base, fragment, cut := strings.Cut(target, "#")
	switch {
	case !strings.Contains(base, "?"):
		base += "?"
	case !strings.HasSuffix(base, "?") && !strings.HasSuffix(base, "&"):
		base += "&"
	}
	base += ClickParam + "=" + id
	if cut {
		base += "#" + fragment
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(base) {
		if c := base[i]; c > ' ' && c < 0x7f {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
