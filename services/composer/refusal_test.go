package composer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// refusal is one bad request and what is said of it.
type refusal struct {
	name   string
	send   any
	kind   fault.Kind
	reason faultv1.Reason
	field  string
}

// refusals returns the table of bad input.
func refusals() []refusal {
	const (
		invalid   = faultv1.Reason_REASON_INVALID_FIELD
		recipient = faultv1.Reason_REASON_INVALID_RECIPIENT
		injection = faultv1.Reason_REASON_HEADER_INJECTION
		amount    = faultv1.Reason_REASON_AMOUNT_INVALID
		variables = faultv1.Reason_REASON_TEMPLATE_VARIABLES
		unknown   = faultv1.Reason_REASON_TEMPLATE_UNKNOWN
		locale    = faultv1.Reason_REASON_LOCALE_UNKNOWN
		currency  = faultv1.Reason_REASON_CURRENCY_UNKNOWN
		expiry    = faultv1.Reason_REASON_EXPIRY_OUT_OF_RANGE
		large     = faultv1.Reason_REASON_MAIL_TOO_LARGE
		lane      = faultv1.Reason_REASON_LANE_UNKNOWN
		sender    = faultv1.Reason_REASON_SENDER_NOT_ALLOWED
	)
	o := func(change func(r *mailv1.SendOtpRequest)) any { return otp(change) }
	b := func(change func(v *mailv1.Bill)) any {
		return bill(func(r *mailv1.SendBillRequest) { change(r.GetBill()) })
	}
	g := func(change func(r *mailv1.SendRequest)) any { return generic(change) }
	opts := func(options *mailv1.Options) any {
		return otp(func(r *mailv1.SendOtpRequest) { r.Options = options })
	}
	tmpl := func(name string, vars map[string]string) any {
		return generic(func(r *mailv1.SendRequest) {
			r.Content, r.Variables, r.Options = nil, vars, &mailv1.Options{Template: name}
		})
	}
	return []refusal{
		{"no recipient", o(func(r *mailv1.SendOtpRequest) { r.To = nil }), fault.Invalid, recipient, "to.email"},
		{"empty recipient", o(func(r *mailv1.SendOtpRequest) { r.To.Email = "" }), fault.Invalid, recipient, "to.email"},
		{"malformed recipient", o(func(r *mailv1.SendOtpRequest) { r.To.Email = "sari@" }), fault.Invalid, recipient, "to.email"},
		{"two recipients", o(func(r *mailv1.SendOtpRequest) { r.To.Email = "a@b.example, c@d.example" }), fault.Invalid, recipient, "to.email"},
		{"CRLF in recipient", o(func(r *mailv1.SendOtpRequest) { r.To.Email = "a@b.example\r\nBcc: c@d.example" }), fault.Invalid, injection, "to.email"},
		{"CRLF in name", o(func(r *mailv1.SendOtpRequest) { r.To.DisplayName = "a\r\nBcc: c@d.example" }), fault.Invalid, injection, "to.display_name"},
		{"NUL in name", o(func(r *mailv1.SendOtpRequest) { r.To.DisplayName = "a\x00" }), fault.Invalid, injection, "to.display_name"},
		{"LF in product", o(func(r *mailv1.SendOtpRequest) { r.ProductName = "a\nb" }), fault.Invalid, injection, "product_name"},
		{"LF in purpose", o(func(r *mailv1.SendOtpRequest) { r.Purpose = "a\n@evil.example #1234" }), fault.Invalid, injection, "purpose"},
		{"CR in sender's name", opts(&mailv1.Options{From: address("a@kurir.example", "a\rb")}), fault.Invalid, injection, "options.from.display_name"},
		{"LF in reply-to", opts(&mailv1.Options{ReplyTo: address("a@b.example\n", "")}), fault.Invalid, injection, "options.reply_to.email"},
		{"LF in number", b(func(v *mailv1.Bill) { v.Number = "1\n2" }), fault.Invalid, injection, "bill.number"},
		{"LF in biller", b(func(v *mailv1.Bill) { v.BillerName = "1\n2" }), fault.Invalid, injection, "bill.biller_name"},
		{"CRLF in subject", g(func(r *mailv1.SendRequest) { r.Content.Subject = "a\r\nX: y" }), fault.Invalid, injection, "content.subject"},
		{"CRLF in variable", tmpl("notice", map[string]string{"title": "a\r\nX: y", "message": "m"}), fault.Invalid, injection, "variables[title]"},
		{"code", o(func(r *mailv1.SendOtpRequest) { r.Code = "12#34" }), fault.Invalid, invalid, "code"},
		{"client ip", o(func(r *mailv1.SendOtpRequest) { r.ClientIp = "300.1.1.1" }), fault.Invalid, invalid, "client_ip"},
		{"origin", o(func(r *mailv1.SendOtpRequest) { r.Origin = "https://x.example/" }), fault.Invalid, invalid, "origin"},
		{"no product", o(func(r *mailv1.SendOtpRequest) { r.ProductName = "  " }), fault.Invalid, invalid, "product_name"},
		{"no key", o(func(r *mailv1.SendOtpRequest) { r.IdempotencyKey = "" }), fault.Invalid, invalid, "idempotency_key"},
		{"NUL in key", o(func(r *mailv1.SendOtpRequest) { r.IdempotencyKey = "a\x00" }), fault.Invalid, invalid, "idempotency_key"},
		{"NUL in campaign", opts(&mailv1.Options{Campaign: "a\x00"}), fault.Invalid, invalid, "options.campaign"},
		{"NUL in label", opts(&mailv1.Options{Labels: map[string]string{"a": "b\x00"}}), fault.Invalid, invalid, "options.labels"},
		{"expiry too short", opts(&mailv1.Options{ExpiresIn: durationpb.New(29 * time.Second)}), fault.Invalid, expiry, "options.expires_in"},
		{"expiry too long", opts(&mailv1.Options{ExpiresIn: durationpb.New(31 * time.Minute)}), fault.Invalid, expiry, "options.expires_in"},
		{"expiry zero", opts(&mailv1.Options{ExpiresIn: durationpb.New(0)}), fault.Invalid, expiry, "options.expires_in"},
		{"send_at", opts(&mailv1.Options{SendAt: timestamppb.New(noon.Add(91 * 24 * time.Hour))}), fault.Invalid, invalid, "options.send_at"},
		{"unknown template", opts(&mailv1.Options{Template: "none"}), fault.NotFound, unknown, "options.template"},
		{"template of another call", opts(&mailv1.Options{Template: "bill"}), fault.Invalid, unknown, "options.template"},
		{"unknown locale", opts(&mailv1.Options{Locale: "fr"}), fault.Invalid, locale, "options.locale"},
		{"malformed locale", opts(&mailv1.Options{Locale: "x!"}), fault.Invalid, locale, "options.locale"},
		{"unknown lane", opts(&mailv1.Options{Lane: "express"}), fault.Invalid, lane, "options.lane"},
		{"raised lane", g(func(r *mailv1.SendRequest) { r.Options = &mailv1.Options{Lane: "otp"} }), fault.Invalid, lane, "options.lane"},
		{"sender's domain", opts(&mailv1.Options{From: address("a@elsewhere.example", "")}), fault.Denied, sender, "options.from.email"},
		{"malformed sender", opts(&mailv1.Options{From: address("a", "")}), fault.Invalid, invalid, "options.from.email"},
		{"unknown currency", b(func(v *mailv1.Bill) { v.Total.CurrencyCode = "QQQ" }), fault.Invalid, currency, "bill.total.currency_code"},
		{"malformed currency", b(func(v *mailv1.Bill) { v.Total.CurrencyCode = "rupiah" }), fault.Invalid, currency, "bill.total.currency_code"},
		{"two currencies", b(func(v *mailv1.Bill) { v.LineItems[0].Amount.CurrencyCode = "USD" }), fault.Invalid, amount, "bill.line_items[0].amount.currency_code"},
		{"negative total", b(func(v *mailv1.Bill) { v.Total = idr(-1) }), fault.Invalid, amount, "bill.total"},
		{"negative tax", b(func(v *mailv1.Bill) { v.Tax = idr(-1) }), fault.Invalid, amount, "bill.tax"},
		{"mixed signs", b(func(v *mailv1.Bill) { v.Total.Nanos = -10_000_000 }), fault.Invalid, amount, "bill.total"},
		{"decimals", b(func(v *mailv1.Bill) { v.Total.Nanos = 1 }), fault.Invalid, amount, "bill.total.nanos"},
		{"sum", b(func(v *mailv1.Bill) { v.Total = idr(333_001) }), fault.Invalid, amount, "bill.total"},
		{"pay_url http", b(func(v *mailv1.Bill) { v.PayUrl = "http://pay.example/" }), fault.Invalid, invalid, "bill.pay_url"},
		{"pay_url script", b(func(v *mailv1.Bill) { v.PayUrl = "javascript:alert(1)" }), fault.Invalid, invalid, "bill.pay_url"},
		{"pay_url user", b(func(v *mailv1.Bill) { v.PayUrl = "https://bank.example@evil.example/" }), fault.Invalid, invalid, "bill.pay_url"},
		{"due_on", b(func(v *mailv1.Bill) { v.DueOn = &mailv1.Date{Year: 2026, Month: 2, Day: 30} }), fault.Invalid, invalid, "bill.due_on"},
		{"no due_on", b(func(v *mailv1.Bill) { v.DueOn = nil }), fault.Invalid, invalid, "bill.due_on"},
		{"missing variable", tmpl("notice", map[string]string{"title": "t"}), fault.Invalid, variables, "variables[message]"},
		{"surplus variable", tmpl("notice", map[string]string{"title": "t", "message": "m", "colour": "red"}), fault.Invalid, variables, "variables[colour]"},
		{"variables without template", g(func(r *mailv1.SendRequest) { r.Variables = map[string]string{"a": "b"} }), fault.Invalid, variables, "variables"},
		{"no content", g(func(r *mailv1.SendRequest) { r.Content = nil }), fault.Invalid, invalid, "content"},
		{"content and template", g(func(r *mailv1.SendRequest) { r.Options = &mailv1.Options{Template: "notice"} }), fault.Invalid, invalid, "content"},
		{"empty content", g(func(r *mailv1.SendRequest) { r.Content.Html = "" }), fault.Invalid, invalid, "content.text"},
		{"NUL in content", g(func(r *mailv1.SendRequest) { r.Content.Text = "a\x00" }), fault.Invalid, invalid, "content.text"},
		{"too large", g(func(r *mailv1.SendRequest) { r.Content.Text = strings.Repeat("x", 1<<20) }), fault.Invalid, large, "content"},
		{"too large when encoded", g(func(r *mailv1.SendRequest) { r.Content.Html, r.Content.Text = "", strings.Repeat("é", 1<<19-8) }), fault.Invalid, large, "content"},
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{}, nil)
	for _, c := range refusals() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := call(t.Context(), b.client, c.send)
			var f *fault.Error
			if !errors.As(err, &f) {
				t.Fatalf("the answer is %v, want a fault", err)
			}
			if f.Kind != c.kind || f.Reason != c.reason {
				t.Errorf("the answer is %v %v (%v), want %v %v", f.Kind, f.Reason, f.Msg, c.kind, c.reason)
			}
			if c.field != "" && (len(f.Fields) == 0 || f.Fields[0].Name != c.field) {
				t.Errorf("fields = %v, want %s", f.Fields, c.field)
			}
		})
	}
	t.Cleanup(func() {
		if got := len(b.router.all()); got != 0 {
			t.Errorf("the router got %d of the refused", got)
		}
	})
}

// call sends a request of any kind by its own call.
func call(ctx context.Context, client mailv1.MailServiceClient, req any) error {
	var err error
	switch req := req.(type) {
	case *mailv1.SendOtpRequest:
		_, err = client.SendOtp(ctx, req)
	case *mailv1.SendBillRequest:
		_, err = client.SendBill(ctx, req)
	case *mailv1.SendReminderRequest:
		_, err = client.SendReminder(ctx, req)
	case *mailv1.SendRequest:
		_, err = client.Send(ctx, req)
	}
	return err
}

// item is a request of any kind as an item of a batch.
func item(reference string, req any) *mailv1.SendBatchRequest {
	out := &mailv1.SendBatchRequest{Reference: reference}
	switch req := req.(type) {
	case *mailv1.SendOtpRequest:
		out.Item = &mailv1.SendBatchRequest_Otp{Otp: req}
	case *mailv1.SendBillRequest:
		out.Item = &mailv1.SendBatchRequest_Bill{Bill: req}
	case *mailv1.SendReminderRequest:
		out.Item = &mailv1.SendBatchRequest_Reminder{Reminder: req}
	case *mailv1.SendRequest:
		out.Item = &mailv1.SendBatchRequest_Mail{Mail: req}
	}
	return out
}

// TestRefusalsTogether tells everything that is wrong with a request at once,
// with what mends it, and nothing of what was in it.
func TestRefusalsTogether(t *testing.T) {
	t.Parallel()
	b := setup(t, &fakeRouter{}, nil)
	const (
		invalid   = "REASON_INVALID_FIELD"
		recipient = "REASON_INVALID_RECIPIENT"
	)
	const address = "to.email: must be an address such as name@example.com"
	badOTP := otp(func(r *mailv1.SendOtpRequest) {
		r.IdempotencyKey, r.To.Email, r.Code, r.ClientIp = "", "geheim@", "ge#heim", "geheim"
		r.Options = &mailv1.Options{Lane: "geheim", Campaign: strings.Repeat("geheim", 50), Template: "geheim", ExpiresIn: durationpb.New(time.Second)}
	})
	otpFields := map[string]string{
		"to.email": recipient, "code": invalid, "client_ip": invalid, "options.expires_in": "REASON_EXPIRY_OUT_OF_RANGE",
		"options.template": "REASON_TEMPLATE_UNKNOWN", "idempotency_key": invalid, "options.campaign": invalid,
	}
	for _, tt := range []struct {
		name   string
		send   any
		begins string // the status message
		ends   string
		fields map[string]string // reasons
	}{
		{"one", otp(func(r *mailv1.SendOtpRequest) { r.To.Email = "geheim" }), address, "", map[string]string{"to.email": recipient}},
		{"the proto's and the domain's", badOTP, address, " (and 6 more fields)", otpFields},
		{
			"a form", otp(func(r *mailv1.SendOtpRequest) { r.Code = "geheim#" }),
			"code: must be 4 to 32 letters and digits, with '-' and spaces between them", "between them",
			map[string]string{"code": invalid},
		},
		{"a bill", bill(func(r *mailv1.SendBillRequest) {
			v := r.GetBill()
			v.CustomerName, v.PayUrl, v.DueOn.Month, v.LineItems[0].Amount.CurrencyCode = " ", "http://geheim.example/", 13, "geheim"
		}), "bill.customer_name: must not be empty", " (and 4 more fields)", map[string]string{
			"bill.customer_name": invalid, "bill.pay_url": invalid, "bill.due_on": invalid,
			"bill.line_items[0].amount.currency_code": "REASON_CURRENCY_UNKNOWN", "bill.due_on.month": invalid,
		}},
		{"own words", generic(func(r *mailv1.SendRequest) {
			r.To, r.Content.Subject, r.Options = nil, "", &mailv1.Options{Lane: "geheim"}
		}), "to.email: must be given", " (and 2 more fields)", map[string]string{
			"to.email": recipient, "content.subject": invalid, "options.lane": "REASON_LANE_UNKNOWN",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := call(t.Context(), b.client, tt.send)
			f := fault.From(err)
			if f.Kind != fault.Invalid || !strings.HasPrefix(f.Msg, tt.begins) || !strings.HasSuffix(f.Msg, tt.ends) {
				t.Errorf("the answer is %v %q, want %v %q ... %q", f.Kind, f.Msg, fault.Invalid, tt.begins, tt.ends)
			}
			got := map[string]string{}
			for _, field := range f.Fields {
				why := field.Reason
				if why == 0 {
					why = f.Reason
				}
				got[field.Name] = why.String()
				if field.Description == "" || strings.ContainsAny(field.Description, "^$\\") {
					t.Errorf("%s: %q does not say what mends it", field.Name, field.Description)
				}
			}
			if diff := cmp.Diff(tt.fields, got); diff != "" {
				t.Errorf("fields and reasons (-want +got):\n%s", diff)
			}
			if text := err.Error() + fmt.Sprint(f.Fields, f.Meta); strings.Contains(text, "geheim") {
				t.Errorf("the answer tells what was sent: %s", text)
			}
		})
	}
}
