package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // page.html
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"

	"golang.org/x/text/language"

	"kurir.dev/kit/mailaddr"
	"kurir.dev/kit/token"
	"kurir.dev/services/tracker/internal/wire"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// about is whom and what a page is about; empty where that is not known.
type about struct {
	Sender  string // domain
	Address string // redacted
}

// words are what a page says in one language.
type words struct {
	Title, Text, Button string
}

// pages renders the pages.
type pages struct {
	page      *template.Template
	styleHash string
	languages language.Matcher
	texts     map[string]map[string]words // by language and page
}

func newPages() (*pages, error) {
	page, err := template.New("page").Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("parsing the page: %w", err)
	}
	sum := sha256.Sum256([]byte(pageStyle))
	return &pages{
		page: page, styleHash: "sha256-" + base64.StdEncoding.EncodeToString(sum[:]),
		languages: language.NewMatcher([]language.Tag{language.Indonesian, language.English}),
		texts: map[string]map[string]words{
			"id": {
				"ask": {
					Title: "Berhenti berlangganan?", Button: "Berhenti berlangganan",
					Text: "Anda tidak akan lagi menerima pengingat dan kabar. Tagihan dan kode keamanan tetap dikirim.",
				},
				"done": {
					Title: "Anda telah berhenti berlangganan",
					Text:  "Pengingat dan kabar tidak akan dikirim lagi. Pesan yang sudah dalam perjalanan mungkin masih tiba.",
				},
				"later":   {Title: "Belum berhasil", Text: "Permintaan Anda belum tersimpan. Silakan coba lagi sebentar lagi."},
				"bad":     {Title: "Permintaan tidak lengkap", Text: "Silakan buka kembali tautan dari surel Anda dan tekan tombolnya."},
				"missing": {Title: "Halaman tidak ditemukan", Text: "Tautan ini tidak berlaku. Periksa apakah tautan tersalin seluruhnya."},
			},
			"en": {
				"ask": {
					Title: "Unsubscribe?", Button: "Unsubscribe",
					Text: "You will no longer receive reminders and news. Bills and security codes will still be sent.",
				},
				"done": {
					Title: "You are unsubscribed",
					Text:  "Reminders and news will no longer be sent. A message already on its way may still arrive.",
				},
				"later":   {Title: "Not done yet", Text: "Your request could not be saved. Please try again in a moment."},
				"bad":     {Title: "Incomplete request", Text: "Please open the link in your mail again and press the button."},
				"missing": {Title: "Page not found", Text: "This link is not valid. Check that it was copied whole."},
			},
		},
	}, nil
}

// show writes a page in the reader's language: that of the browser, Indonesian
// where it says nothing.
func (p *pages) show(w http.ResponseWriter, r *http.Request, status int, name string, about about) {
	lang := "id"
	if tags, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language")); err == nil && len(tags) > 0 {
		if _, i, c := p.languages.Match(tags...); i == 1 || c == language.No {
			lang = "en"
		}
	}
	var b bytes.Buffer
	err := p.page.Execute(&b, map[string]any{
		"Lang": lang, "Name": name, "Words": p.texts[lang][name], "About": about,
		"Style": template.CSS(pageStyle), //nolint:gosec // our own file
	})
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", lang)
	h.Set("Vary", "Accept-Language")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the reader went away: there is nobody left to tell
}

// about looks up what a page may say of the mail. The link may be forwarded, so
// the address is redacted. What is not found is left out.
func (d *Door) about(r *http.Request, c token.Claims) about {
	m, err := d.deps.Mails.Mail(r.Context(), c.Tenant, c.MailID)
	if err != nil {
		return about{}
	}
	out := about{Sender: m.Facts.SenderDomain}
	facts, err := wire.AnswerFacts(m.Facts)
	if err != nil {
		return out
	}
	if a, err := mailaddr.Parse(facts.GetRecipient()); err == nil {
		out.Address = a.Redacted()
	}
	return out
}
