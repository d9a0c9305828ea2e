package demo

import (
	"bytes"
	"context"
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

	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

const invoiceID = "INV-2026-0042"

// bill is the invoice of the demonstration.
func bill() *mailv1.Bill {
	rupiah := func(n int64) *mailv1.Money { return &mailv1.Money{CurrencyCode: "IDR", Units: n} }
	return &mailv1.Bill{
		InvoiceId: invoiceID, BillerName: "PT Contoh Listrik", CustomerName: "Ibu Sari", Period: "November 2026",
		DueOn: &mailv1.Date{Year: 2026, Month: 12, Day: 5},
		LineItems: []*mailv1.LineItem{
			{Description: "Pemakaian listrik 214 kWh", Amount: rupiah(309_200)},
			{Description: "Biaya beban", Amount: rupiah(45_000)},
		},
		Total: rupiah(354_200), PayUrl: "https://bayar.example/" + invoiceID,
	}
}

var (
	pixelLink = regexp.MustCompile(`https?://[^"'\s]+/o/[^"'\s]+`)
	clickLink = regexp.MustCompile(`https?://[^"'\s]+/c/[^"'\s]+`)
)

// reader is a person reading the bill's mail in a browser.
type reader struct{ http *http.Client }

func newReader() reader {
	return reader{http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// open fetches the pixel of message.
func (r reader) open(ctx context.Context, message []byte) error {
	body, err := htmlPart(message)
	if err != nil {
		return err
	}
	res, err := r.get(ctx, pixelLink.FindString(body))
	if err != nil {
		return fmt.Errorf("opening the mail: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("opening the mail: the pixel answered %s", res.Status)
	}
	return nil
}

// click follows the pay link of message and returns the click id the pay page
// would see.
func (r reader) click(ctx context.Context, message []byte) (string, error) {
	body, err := htmlPart(message)
	if err != nil {
		return "", err
	}
	res, err := r.get(ctx, clickLink.FindString(body))
	if err != nil {
		return "", fmt.Errorf("following the pay link: %w", err)
	}
	target, err := url.Parse(res.Header.Get("Location"))
	if err != nil || res.StatusCode != http.StatusFound {
		return "", fmt.Errorf("following the pay link: answered %s to %q", res.Status, res.Header.Get("Location"))
	}
	return target.Query().Get("kurir_click"), nil
}

func (r reader) get(ctx context.Context, link string) (*http.Response, error) {
	if link == "" {
		return nil, fmt.Errorf("the mail has no such link")
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

// htmlPart returns the decoded HTML part of a multipart/alternative message.
func htmlPart(message []byte) (string, error) {
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		return "", fmt.Errorf("reading the mail: %w", err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return "", fmt.Errorf("reading the mail: %w", err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return "", fmt.Errorf("reading the mail: no HTML part: %w", err)
		}
		if kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind != "text/html" {
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

// pay tells the ledger that the invoice was paid by whoever made the click.
func pay(ctx context.Context, tracker trackerv1.TrackerServiceClient, clickID string) error {
	_, err := tracker.ReportBillingEvent(ctx, &trackerv1.ReportBillingEventRequest{
		IdempotencyKey: "payment-0042", InvoiceId: invoiceID, Type: eventsv1.BillingType_BILLING_TYPE_PAID,
		Amount: bill().GetTotal(), PaymentReference: "VA-8801-0042", ClickId: clickID,
	})
	if err != nil {
		return fmt.Errorf("paying the invoice: %w", err)
	}
	return nil
}
