package mxsim

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
)

// Reader is a person reading an HTML mail in a browser.
type Reader struct {
	body string
	http *http.Client
}

// NewReader opens the HTML part of a multipart message (RFC 2046 §5.1), as a
// host received it; a message without one is an error.
func NewReader(message []byte) (*Reader, error) {
	body, err := htmlPart(message)
	if err != nil {
		return nil, fmt.Errorf("reading a mail: %w", err)
	}
	return &Reader{body: body, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
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
			return "", fmt.Errorf("looking for an HTML part: %w", err)
		}
		if kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || kind != "text/html" {
			continue
		}
		var body io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(part)
		}
		text, err := io.ReadAll(body)
		return string(text), err
	}
}

var (
	pixelLink = regexp.MustCompile(`https?://[^"'\s]+/o/[^"'\s]+`)
	clickLink = regexp.MustCompile(`https?://[^"'\s]+/c/[^"'\s]+`)
)

// Open fetches the mail's tracking pixel, as showing its images does.
func (r *Reader) Open(ctx context.Context) error {
	status, header, err := r.get(ctx, pixelLink.FindString(r.body))
	if err != nil {
		return fmt.Errorf("fetching the pixel: %w", err)
	}
	if status != http.StatusOK || header.Get("Content-Type") != "image/gif" {
		return fmt.Errorf("fetching the pixel: answered %d with %q", status, header.Get("Content-Type"))
	}
	return nil
}

// Click follows the mail's first tracked link and returns where it leads,
// without going there.
func (r *Reader) Click(ctx context.Context) (*url.URL, error) {
	status, header, err := r.get(ctx, clickLink.FindString(r.body))
	if err != nil {
		return nil, fmt.Errorf("following a link: %w", err)
	}
	if status != http.StatusFound {
		return nil, fmt.Errorf("following a link: answered %d", status)
	}
	return url.Parse(header.Get("Location"))
}

func (r *Reader) get(ctx context.Context, link string) (int, http.Header, error) {
	if link == "" {
		return 0, nil, errors.New("the mail has no such link")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, html.UnescapeString(link), http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0")
	res, err := r.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	return res.StatusCode, res.Header, res.Body.Close()
}
