package submission

import (
	"errors"
	"strings"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/composer/internal/kind"
	"kurir.dev/services/composer/internal/link"
	"kurir.dev/services/composer/internal/mime"
	"kurir.dev/services/composer/internal/template"
)

// compose makes the mail of a draft under an id.
func (c *Composer) compose(d *draft, id string) (*Submission, error) {
	about := d.content
	maker := link.Maker{Base: c.cfg.PublicURL, Ring: c.cfg.Tokens, Tenant: d.tenant.name, MailID: id}
	tracked := about.kind.Tracked() && !d.tenant.Untracked
	unsubscribe := ""
	if about.kind.Unsubscribable() {
		unsubscribe = maker.Unsubscribe()
	}

	words, err := d.words(maker, tracked, unsubscribe)
	if err != nil {
		return nil, err
	}
	if tracked && words.HTML != "" {
		words.HTML = maker.Follow(words.HTML)
	}
	m := mime.Message{
		ID: id, Date: c.cfg.Now().UTC(), From: d.from, To: d.to, ReplyTo: d.replyTo,
		Subject: words.Subject, More: headers(about.kind, unsubscribe), Text: words.Text, HTML: words.HTML,
	}
	if !d.sendAt.IsZero() {
		m.Date = d.sendAt.UTC() // readers sort by it
	}
	raw, err := m.Bytes()
	if err != nil {
		return nil, unwritable(err)
	}
	if len(raw) > c.cfg.MaxBytes {
		return nil, tooLarge(about.source(), c.cfg.MaxBytes)
	}
	expires := d.expires
	if about.expires != 0 {
		expires = about.expires
	}
	s := &Submission{
		MailID: id, Tenant: d.tenant.name, Key: d.req.Key, Fingerprint: d.req.Fingerprint,
		Lane: d.req.Options.Lane, ReturnDomain: d.tenant.ReturnDomain, Recipient: d.to.Mailbox.String(),
		Message: raw, SendAt: d.sendAt, ExpiresIn: expires, SMTPUTF8: m.NeedsSMTPUTF8(),
		Facts: Facts{
			Kind: about.kind, Locale: about.locale, InvoiceID: about.invoiceID, ReminderStep: about.step,
			Amount: about.amount, DueOn: about.dueOn, Campaign: d.req.Options.Campaign, Labels: d.req.Options.Labels,
			MessageID: m.MessageID(), Recipient: d.req.To.Email, SenderDomain: d.from.Mailbox.Domain(), Tracked: tracked,
		},
	}
	if about.template != nil {
		s.Facts.Template, s.Facts.Version = about.template.Name, about.template.Version
	}
	return s, nil
}

// words renders the template, or returns the caller's own words.
func (d *draft) words(maker link.Maker, tracked bool, unsubscribe string) (*template.Rendered, error) {
	about := d.content
	if about.template == nil {
		return &template.Rendered{Subject: about.own.Subject, Text: about.own.Text, HTML: about.own.HTML, Locale: about.locale}, nil
	}
	dress := template.Dress{Brand: d.tenant.Brand, Unsubscribe: unsubscribe}
	if tracked {
		dress.Follow = maker.Click
	}
	return about.template.Render(about.locale, about.values, dress)
}

// headers are those that depend on the kind.
func headers(k kind.Kind, unsubscribe string) []mime.Header {
	var out []mime.Header
	if k == kind.OTP {
		out = append(out, mime.Header{Name: "Auto-Submitted", Value: "auto-generated"}) // RFC 3834 §5
	}
	if unsubscribe != "" {
		out = append(out,
			mime.Header{Name: "List-Unsubscribe", Value: "<" + unsubscribe + ">"},           // RFC 2369 §3.2
			mime.Header{Name: "List-Unsubscribe-Post", Value: "List-Unsubscribe=One-Click"}) // RFC 8058 §3.1
	}
	return out
}

// unwritable turns a header that could not be written into a refusal. The
// checks before keep callers from ever seeing it.
func unwritable(err error) error {
	var he *mime.HeaderError
	if !errors.As(err, &he) {
		return err
	}
	return fault.Invalidf(faultv1.Reason_REASON_HEADER_INJECTION, strings.ToLower(he.Header), "%s", he.Why)
}
