package e2e_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// TestBadInput sends what must be refused, and reads of each refusal its kind,
// reason and field, as a product would over the wire.
func TestBadInput(t *testing.T) {
	t.Parallel()
	m := harness.Start(t, harness.Options{})
	otp := func(change func(*mailv1.SendOtpRequest)) error {
		r := &mailv1.SendOtpRequest{
			IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: "a@input.example"}, Code: "482913", ProductName: "Bank",
			Options: &mailv1.Options{},
		}
		change(r)
		_, err := m.Mail.SendOtp(t.Context(), r)
		return err
	}
	bill := func(change func(*mailv1.SendBillRequest)) error {
		r := &mailv1.SendBillRequest{
			IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: "a@input.example"}, Bill: harness.Invoice("INV-input"),
			Options: &mailv1.Options{},
		}
		change(r)
		_, err := m.Mail.SendBill(t.Context(), r)
		return err
	}
	send := func(change func(*mailv1.SendRequest)) error {
		r := &mailv1.SendRequest{
			IdempotencyKey: uuid.NewString(), To: &mailv1.Address{Email: "a@input.example"}, Options: &mailv1.Options{},
		}
		change(r)
		_, err := m.Mail.Send(t.Context(), r)
		return err
	}
	money := func(currency string, units int64) *mailv1.Money {
		return &mailv1.Money{CurrencyCode: currency, Units: units}
	}
	price := func(r *mailv1.SendBillRequest, amount *mailv1.Money) {
		r.Bill.Total, r.Bill.LineItems[0].Amount = amount, amount
	}

	for name, c := range map[string]struct {
		err    error
		kind   fault.Kind
		reason faultv1.Reason
		field  string
	}{
		"missing recipient": {
			otp(func(r *mailv1.SendOtpRequest) { r.To = nil }), fault.Invalid, faultv1.Reason_REASON_INVALID_RECIPIENT, "to",
		},
		"malformed recipient": {
			otp(func(r *mailv1.SendOtpRequest) { r.To.Email = "no mailbox" }), fault.Invalid, faultv1.Reason_REASON_INVALID_RECIPIENT, "to.email",
		},
		"line break in a name": {
			otp(func(r *mailv1.SendOtpRequest) { r.To.DisplayName = "Sari\r\nBcc: all@input.example" }),
			fault.Invalid, faultv1.Reason_REASON_HEADER_INJECTION, "to.display_name",
		},
		"line feed in a subject": {
			send(func(r *mailv1.SendRequest) { r.Content = &mailv1.Content{Subject: "a\nb", Text: "x"} }),
			fault.Invalid, faultv1.Reason_REASON_HEADER_INJECTION, "content.subject",
		},
		"NUL in a name": {
			otp(func(r *mailv1.SendOtpRequest) { r.To.DisplayName = "Sari\x00" }), fault.Invalid, faultv1.Reason_REASON_HEADER_INJECTION, "to.display_name",
		},
		"unknown template": {
			send(func(r *mailv1.SendRequest) { r.Options.Template = "nothing" }), fault.NotFound, faultv1.Reason_REASON_TEMPLATE_UNKNOWN, "options.template",
		},
		"missing variables": {
			send(func(r *mailv1.SendRequest) { r.Options.Template = "notice" }), fault.Invalid, faultv1.Reason_REASON_TEMPLATE_VARIABLES, "variables",
		},
		"unknown currency": {
			bill(func(r *mailv1.SendBillRequest) { price(r, money("XQQ", 5)) }), fault.Invalid, faultv1.Reason_REASON_CURRENCY_UNKNOWN, "bill.total.currency_code",
		},
		"unknown locale": {
			otp(func(r *mailv1.SendOtpRequest) { r.Options.Locale = "tlh" }), fault.Invalid, faultv1.Reason_REASON_LOCALE_UNKNOWN, "options.locale",
		},
		"negative amount": {
			bill(func(r *mailv1.SendBillRequest) { price(r, money("IDR", -5)) }), fault.Invalid, faultv1.Reason_REASON_AMOUNT_INVALID, "bill.total",
		},
		"expiry too short": {
			otp(func(r *mailv1.SendOtpRequest) { r.Options.ExpiresIn = durationpb.New(time.Millisecond) }),
			fault.Invalid, faultv1.Reason_REASON_EXPIRY_OUT_OF_RANGE, "options.expires_in",
		},
		"expiry too long": {
			otp(func(r *mailv1.SendOtpRequest) { r.Options.ExpiresIn = durationpb.New(time.Hour) }),
			fault.Invalid, faultv1.Reason_REASON_EXPIRY_OUT_OF_RANGE, "options.expires_in",
		},
		"scheduled too far ahead": {
			bill(func(r *mailv1.SendBillRequest) {
				r.Options.SendAt = timestamppb.New(time.Now().Add(100 * 24 * time.Hour))
			}),
			fault.Invalid, faultv1.Reason_REASON_INVALID_FIELD, "options.send_at",
		},
		"oversize mail": {
			send(func(r *mailv1.SendRequest) {
				r.Content = &mailv1.Content{Subject: "big", Text: strings.Repeat("0123456789\n", 150_000)}
			}), fault.Invalid, faultv1.Reason_REASON_MAIL_TOO_LARGE, "content",
		},
		"raised lane": {
			send(func(r *mailv1.SendRequest) {
				r.Content, r.Options.Lane = &mailv1.Content{Subject: "a", Text: "x"}, "otp"
			}), fault.Invalid, faultv1.Reason_REASON_LANE_UNKNOWN, "options.lane",
		},
	} {
		var f *fault.Error
		if !errors.As(c.err, &f) {
			t.Errorf("%s: got %v, want a typed refusal", name, c.err)
			continue
		}
		fields := make([]string, len(f.Fields))
		for i, v := range f.Fields {
			fields[i] = v.Name
		}
		if !errors.Is(c.err, c.kind) || f.Reason != c.reason || !strings.HasPrefix(strings.Join(fields, " "), c.field) {
			t.Errorf("%s: got %v %v in %q (%v), want %v %v in %q", name, f.Kind, f.Reason, fields, f.Msg, c.kind, c.reason, c.field)
		}
	}
}
