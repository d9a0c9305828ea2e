package submission

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/k3a/html2text"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/lane"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/composer/internal/civil"
	"kurir.dev/services/composer/internal/kind"
	"kurir.dev/services/composer/internal/money"
	"kurir.dev/services/composer/internal/template"
)

// content is what to render: a template with its values, or own words.
type content struct {
	kind     kind.Kind
	template *template.Template // nil for own words
	values   template.Values
	own      Content
	locale   string
	expires  time.Duration // zero unless the words speak of it

	invoiceID, step string
	amount          money.Amount
	dueOn           civil.Date
}

// source is the field of the request that most of the mail comes from.
func (c *content) source() string {
	switch {
	case c.template == nil:
		return "content"
	case c.invoiceID != "":
		return "bill"
	default:
		return "variables"
	}
}

// choose finds the template, of the given input, and its locale.
func choose(t *tenant, o *Options, builtin string, in template.Input) (*content, error) {
	name := o.Template
	if name == "" {
		name = builtin
	}
	tmpl, err := t.Templates.Find(name)
	if err != nil {
		return nil, err
	}
	if tmpl.Input != in {
		return nil, fault.Invalidf(faultv1.Reason_REASON_TEMPLATE_UNKNOWN, "options.template", "is not made for this call: its input is %s", tmpl.Input)
	}
	locale, err := chooseLocale(t, tmpl, o.Locale)
	if err != nil {
		return nil, err
	}
	return &content{kind: tmpl.Kind, template: tmpl, locale: locale}, nil
}

// content of an OTP. Its words name the time it expires, so the time is fixed
// here and not left to the router.
func (otp *OTP) content(c *Composer, t *tenant, o *Options) (*content, error) {
	origin, strange := checkOrigin(otp.Origin)
	expires, never := c.expiry(lane.OTP, o.ExpiresIn)
	out, unknown := choose(t, o, "otp", template.OTP)
	err := fault.Join(
		oneLine(
			text{"code", otp.Code}, text{"product_name", otp.ProductName},
			text{"origin", otp.Origin}, text{"purpose", otp.Purpose},
		),
		filled(text{"product_name", otp.ProductName}), checkCode(otp.Code), checkIP(otp.ClientIP), strange, never, unknown,
	)
	if err != nil {
		return out, err
	}
	if out.expires = expires; expires == 0 {
		own, _ := c.cfg.Lanes.Lookup(lane.OTP)
		out.expires = own.Expiry
	}
	out.values, err = out.template.Fill(template.Values{
		"code": otp.Code, "product_name": otp.ProductName, "purpose": otp.Purpose, "expires_in": out.expires,
		"origin": origin, "autofill": strings.ReplaceAll(otp.Code, " ", ""),
	})
	return out, err
}

// content of a bill.
func (b *Bill) content(_ *Composer, t *tenant, o *Options) (*content, error) {
	subtotal, bad := b.check()
	out, unknown := choose(t, o, "bill", template.Bill)
	if err := fault.Join(bad, unknown); err != nil {
		return out, err
	}
	return b.fill(out, b.values(subtotal))
}

// content of a reminder.
func (r *Reminder) content(_ *Composer, t *tenant, o *Options) (*content, error) {
	subtotal, bad := r.Bill.check()
	step := text{"step", r.Step}
	out, unknown := choose(t, o, "reminder", template.Reminder)
	if err := fault.Join(bad, oneLine(step), filled(step), unknown); err != nil {
		return out, err
	}
	values := r.Bill.values(subtotal)
	stage, days := "due", int64(r.DaysUntilDue)
	switch {
	case days > 0:
		stage = "upcoming"
	case days < 0:
		stage, days = "overdue", -days
	}
	values["stage"], values["days"], values["step"] = stage, days, r.Step
	out.step = r.Step
	return r.Bill.fill(out, values)
}

// check checks a bill and returns what its items sum up to when tax comes on
// top of them, else the zero amount.
func (b *Bill) check() (money.Amount, error) {
	none := money.Amount{}
	bad := []error{
		oneLine(
			text{"bill.invoice_id", b.InvoiceID}, text{"bill.number", b.Number},
			text{"bill.biller_name", b.BillerName}, text{"bill.customer_name", b.CustomerName},
			text{"bill.period", b.Period}, text{"bill.pay_url", b.PayURL},
		),
		filled(text{"bill.invoice_id", b.InvoiceID}, text{"bill.biller_name", b.BillerName}, text{"bill.customer_name", b.CustomerName}),
		checkDay("bill.issued_on", b.IssuedOn, false), checkDay("bill.due_on", b.DueOn, true),
		checkPayURL("bill.pay_url", b.PayURL), checkAmount("bill.total", b.Total, "", false),
	}
	if b.Tax != none {
		bad = append(bad, checkAmount("bill.tax", b.Tax, b.Total.Currency, false))
	}
	for i := range b.Items {
		bad = append(bad, b.Items[i].check(fmt.Sprintf("bill.line_items[%d]", i), b.Total.Currency))
	}
	if err := fault.Join(bad...); err != nil {
		return none, err
	}
	return b.sum()
}

// check checks an item by itself and against the currency of the total.
func (i *LineItem) check(field, currency string) error {
	bad := []error{noNUL(field+".description", i.Description), checkAmount(field+".amount", i.Amount, currency, true)}
	if i.Quantity < 0 {
		bad = append(bad, invalid(field+".quantity", "must not be negative"))
	}
	if i.UnitPrice != (money.Amount{}) {
		bad = append(bad, checkAmount(field+".unit_price", i.UnitPrice, currency, true))
	}
	return fault.Join(bad...)
}

// sum checks what the items add up to.
func (b *Bill) sum() (money.Amount, error) {
	none := money.Amount{}
	if len(b.Items) == 0 {
		return none, nil
	}
	sum := money.Amount{Currency: b.Total.Currency}
	for _, item := range b.Items {
		var ok bool
		if sum, ok = sum.Add(item.Amount); !ok {
			return none, fault.Invalidf(faultv1.Reason_REASON_AMOUNT_INVALID, "bill.line_items", "must have a sum that is in range")
		}
	}
	if sum == b.Total {
		return none, nil // tax, if any, is in the prices
	}
	if b.Tax != none {
		if taxed, ok := sum.Add(b.Tax); ok && taxed == b.Total {
			return sum, nil
		}
	}
	return none, fault.Invalidf(faultv1.Reason_REASON_AMOUNT_INVALID, "bill.total", "must be the sum of the line items, or that sum and the tax")
}

// values are the template's view of a bill.
func (b *Bill) values(subtotal money.Amount) template.Values {
	number := b.Number
	if number == "" {
		number = b.InvoiceID
	}
	rows := make([]template.Row, len(b.Items))
	for i, item := range b.Items {
		rows[i] = template.Row(item)
	}
	return template.Values{
		"biller_name": b.BillerName, "customer_name": b.CustomerName, "number": number, "invoice_id": b.InvoiceID,
		"period": b.Period, "issued_on": b.IssuedOn, "due_on": b.DueOn, "items": rows, "tax": b.Tax,
		"subtotal": subtotal, "total": b.Total, "pay_url": b.PayURL,
	}
}

// fill completes the content of a mail about the bill.
func (b *Bill) fill(out *content, values template.Values) (*content, error) {
	var err error
	out.invoiceID, out.amount, out.dueOn = b.InvoiceID, b.Total, b.DueOn
	out.values, err = out.template.Fill(values)
	return out, err
}

// content of any other mail.
func (g *Generic) content(c *Composer, t *tenant, o *Options) (*content, error) {
	if o.Template == "" {
		return g.own(c, t, o)
	}
	var bad []error
	if g.Content != nil {
		bad = append(bad, invalid("content", "must not be given beside a template"))
	}
	out, err := choose(t, o, "", template.Variables)
	bad = append(bad, err)
	for _, name := range slices.Sorted(maps.Keys(g.Variables)) {
		bad = append(bad, noNUL("variables["+name+"]", g.Variables[name]))
	}
	if err := fault.Join(bad...); err != nil {
		return out, err
	}
	out.values, err = out.template.Bind(g.Variables)
	return out, err
}

// own is a mail in the caller's own words.
func (g *Generic) own(c *Composer, t *tenant, o *Options) (*content, error) {
	if g.Content == nil {
		return nil, invalid("content", "must be given, or a template named in options.template")
	}
	if len(g.Variables) > 0 {
		return nil, fault.Invalidf(faultv1.Reason_REASON_TEMPLATE_VARIABLES, "variables", "must not be given without a template")
	}
	own := *g.Content
	var large error
	if len(own.Text)+len(own.HTML) > c.cfg.MaxBytes {
		large = tooLarge("content", c.cfg.MaxBytes)
	}
	locale := o.Locale
	if locale == "" {
		locale = t.Locale
	}
	locale, foreign := template.ParseLocale(locale)
	err := fault.Join(
		oneLine(text{"content.subject", own.Subject}),
		filled(text{"content.subject", own.Subject}, text{"content.text", own.Text + own.HTML}),
		noNUL("content.text", own.Text), noNUL("content.html", own.HTML), large, foreign,
	)
	if err != nil {
		return &content{kind: kind.Generic}, err
	}
	if own.Text == "" {
		own.Text = plainText(own.HTML)
	}
	return &content{kind: kind.Generic, own: own, locale: locale}, nil
}

// plainText makes the text part of a mail whose caller gave HTML alone: its
// words, with the addresses of its links.
func plainText(page string) string {
	var out []string
	for line := range strings.Lines(html2text.HTML2TextWithOptions(page, html2text.WithUnixLineBreaks())) {
		line = strings.TrimSpace(line)
		if line == "" && (len(out) == 0 || out[len(out)-1] == "") {
			continue
		}
		out = append(out, line)
	}
	return strings.TrimSpace(strings.Join(out, "\n")) + "\n"
}

// noNUL checks a text of any number of lines.
func noNUL(field, s string) error {
	if strings.ContainsRune(s, 0) {
		return invalid(field, "must hold no NUL")
	}
	return nil
}

// tooLarge is a mail over the limit; field is what can be shortened.
func tooLarge(field string, limit int) error {
	return fault.Invalidf(faultv1.Reason_REASON_MAIL_TOO_LARGE, field, "makes a mail of more than %d bytes; shorten it, or raise max_mail_bytes", limit)
}
