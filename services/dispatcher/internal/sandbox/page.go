package sandbox

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed page
var assets embed.FS

// The policies of the pages: ours run our own script and nothing else; a
// mail's HTML runs nothing, loads nothing and leads nowhere but to new tabs.
const (
	pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " +
		"frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	mailPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; " +
		"frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)

const shown = 200 // mails on the list

type site struct {
	store *store
	views *template.Template
	head  *regexp.Regexp
}

// pages serves the inbox:
//
//	/                the newest mails, ?q= searches
//	/rows            the same as a fragment, for the live list
//	/mail/{id}       one mail, ?view=html|text|headers|raw
//	/mail/{id}/html  its HTML, for the frame
//	/mail/{id}/raw   its bytes, to download
func pages(s *store) http.Handler {
	p := &site{store: s, head: regexp.MustCompile(`(?i)<head[^>]*>`)}
	p.views = template.Must(template.New("").Funcs(template.FuncMap{
		"size": size, "stamp": func(t time.Time) string { return t.Format(time.RFC3339) },
		"clock": func(t time.Time) string { return t.Format("02 Jan 15:04:05") },
	}).ParseFS(assets, "page/*.html"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.list("list.html"))
	mux.HandleFunc("GET /rows", p.list("rows.html"))
	mux.HandleFunc("GET /mail/{id}", p.mail)
	mux.HandleFunc("GET /mail/{id}/html", p.html)
	mux.HandleFunc("GET /mail/{id}/raw", p.raw)
	for _, name := range []string{"style.css", "live.js"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, assets, "page/"+name)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

func (p *site) list(view string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		words := r.URL.Query().Get("q")
		mails, err := p.store.list(r.Context(), words, shown)
		if err != nil {
			p.fail(w, err)
			return
		}
		total, err := p.store.count(r.Context())
		if err != nil {
			p.fail(w, err)
			return
		}
		p.show(w, view, map[string]any{"Mails": mails, "Words": words, "Total": total, "Shown": len(mails)})
	}
}

func (p *site) mail(w http.ResponseWriter, r *http.Request) {
	e, ok := p.find(w, r)
	if !ok {
		return
	}
	c := read(e.Raw)
	view := r.URL.Query().Get("view")
	switch {
	case view == "text", view == "headers", view == "raw":
	case c.HTML != "":
		view = "html"
	default:
		view = "text"
	}
	raw := ""
	if view == "raw" {
		raw = strings.ToValidUTF8(string(e.Raw), "\ufffd")
	}
	p.show(w, "mail.html", map[string]any{"Mail": e, "Content": c, "View": view, "Raw": raw})
}

func (p *site) html(w http.ResponseWriter, r *http.Request) {
	e, ok := p.find(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Security-Policy", mailPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	page := read(e.Raw).HTML
	const base = `<base target="_blank">`
	if at := p.head.FindStringIndex(page); at != nil {
		page = page[:at[1]] + base + page[at[1]:]
	} else {
		page = base + page
	}
	_, _ = io.WriteString(w, page)
}

func (p *site) raw(w http.ResponseWriter, r *http.Request) {
	e, ok := p.find(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="mail-%d.eml"`, e.ID))
	_, _ = w.Write(e.Raw)
}

func (p *site) find(w http.ResponseWriter, r *http.Request) (entry, bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "no such mail", http.StatusNotFound)
		return entry{}, false
	}
	e, ok, err := p.store.get(r.Context(), id)
	switch {
	case err != nil:
		p.fail(w, err)
	case !ok:
		http.Error(w, "this mail is not, or no longer, in the sandbox", http.StatusNotFound)
	}
	return e, ok && err == nil
}

func (p *site) show(w http.ResponseWriter, view string, data any) {
	var out bytes.Buffer
	if err := p.views.ExecuteTemplate(&out, view, data); err != nil {
		p.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = out.WriteTo(w)
}

func (p *site) fail(w http.ResponseWriter, err error) {
	http.Error(w, "the sandbox cannot show this: "+err.Error(), http.StatusInternalServerError)
}

func size(n int) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f KB", float64(n)/1024)
}
