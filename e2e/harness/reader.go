package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"testing"
)

// Reader is a person reading an HTML mail in a browser.
type Reader struct {
	body string
	http *http.Client
}

// NewReader opens the HTML part of a message.
func NewReader(t *testing.T, message []byte) *Reader {
	t.Helper()
	body, err := htmlPart(message)
	if err != nil {
		t.Fatalf("reading a received message: %v", err)
	}
	return &Reader{body: body, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func htmlPart(message []byte) (string, error) {
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		return "", err
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return "", err
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return "", fmt.Errorf("looking for the HTML part: %w", err)
		}
		if kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || kind != "text/html" {
			continue
		}
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		return string(text), err
	}
}

var (
	pixelLink = regexp.MustCompile(`https?://[^"'\s]+/o/[^"'\s]+`)
	clickLink = regexp.MustCompile(`https?://[^"'\s]+/c/[^"'\s]+`)
)

// Open fetches the mail's pixel.
func (r *Reader) Open(ctx context.Context) error {
	res, err := r.get(ctx, pixelLink.FindString(r.body))
	if err != nil {
		return fmt.Errorf("fetching the pixel: %w", err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "image/gif" {
		return fmt.Errorf("the pixel answered %s with %s", res.Status, res.Header.Get("Content-Type"))
	}
	return nil
}

// Click follows the mail's first link and returns where it leads.
func (r *Reader) Click(ctx context.Context) (*url.URL, error) {
	res, err := r.get(ctx, clickLink.FindString(r.body))
	if err != nil {
		return nil, fmt.Errorf("following the link: %w", err)
	}
	if res.StatusCode != http.StatusFound {
		return nil, fmt.Errorf("the link answered %s", res.Status)
	}
	return url.Parse(res.Header.Get("Location"))
}

func (r *Reader) get(ctx context.Context, link string) (*http.Response, error) {
	if link == "" {
		return nil, errors.New("the mail has no such link")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, html.UnescapeString(link), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0")
	res, err := r.http.Do(req)
	if err != nil {
		return nil, err
	}
	return res, res.Body.Close()
}
