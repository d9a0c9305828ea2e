package client

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"kurir.dev/kit/telemetry"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// Send holds what the three kinds of mail have in common.
type Send struct {
	Access

	Composer string `help:"Address of composer." default:"127.0.0.1:7410"`
	To       string `help:"Recipient." required:""`
	Name     string `help:"Recipient's name."`
	Locale   string `help:"Locale, such as id-ID or en." default:""`
	Key      string `help:"Idempotency key; the same key sends once." default:""`
}

// OTP sends a one-time password.
type OTP struct {
	Send

	Code    string `help:"The code." required:""`
	Product string `help:"Product the code belongs to." default:"Kurir"`
	Origin  string `help:"Host the code is for, for autofill."`
}

// Run sends the mail and prints its receipt.
func (o *OTP) Run(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	return o.call(ctx, w, t, func(ctx context.Context, c mailv1.MailServiceClient) (*mailv1.Receipt, error) {
		res, err := c.SendOtp(ctx, &mailv1.SendOtpRequest{
			IdempotencyKey: o.key(), To: o.to(), Code: o.Code, ProductName: o.Product, Origin: o.Origin, Options: o.options(),
		})
		return res.GetReceipt(), err
	})
}

// Invoice holds what bills and reminders say of an invoice.
type Invoice struct {
	Invoice  string `help:"Invoice id." required:""`
	Biller   string `help:"Who bills." default:"PT Contoh"`
	Customer string `help:"Who pays." default:"Pelanggan"`
	Amount   string `help:"Total, such as 125000 or 19.90." required:""`
	Currency string `help:"ISO 4217 code." default:"IDR"`
	Due      string `help:"Day it is due, YYYY-MM-DD." required:""`
	PayURL   string `help:"Where to pay." required:"" name:"pay-url"`
}

// bill is the invoice with one line item.
func (i Invoice) bill() (*mailv1.Bill, error) {
	due, err := time.Parse(time.DateOnly, i.Due)
	if err != nil {
		return nil, fmt.Errorf("--due %q is no day of the form 2026-12-31", i.Due)
	}
	total, err := money(i.Currency, i.Amount)
	if err != nil {
		return nil, err
	}
	return &mailv1.Bill{
		InvoiceId: i.Invoice, BillerName: i.Biller, CustomerName: i.Customer, Total: total, PayUrl: i.PayURL,
		DueOn:     &mailv1.Date{Year: int32(due.Year()), Month: int32(due.Month()), Day: int32(due.Day())},
		LineItems: []*mailv1.LineItem{{Description: i.Invoice, Amount: total}},
	}, nil
}

// Bill sends an e-bill.
type Bill struct {
	Send
	Invoice
}

// Run sends the mail and prints its receipt.
func (b *Bill) Run(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	bill, err := b.bill()
	if err != nil {
		return err
	}
	return b.call(ctx, w, t, func(ctx context.Context, c mailv1.MailServiceClient) (*mailv1.Receipt, error) {
		res, err := c.SendBill(ctx, &mailv1.SendBillRequest{IdempotencyKey: b.key(), To: b.to(), Bill: bill, Options: b.options()})
		return res.GetReceipt(), err
	})
}

// Reminder sends a payment reminder.
type Reminder struct {
	Send
	Invoice

	Step string `help:"Step of the dunning plan." default:"due-3"`
	Days int32  `help:"Days until due, negative once overdue." default:"3"`
}

// Run sends the mail and prints its receipt.
func (r *Reminder) Run(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	bill, err := r.bill()
	if err != nil {
		return err
	}
	return r.call(ctx, w, t, func(ctx context.Context, c mailv1.MailServiceClient) (*mailv1.Receipt, error) {
		res, err := c.SendReminder(ctx, &mailv1.SendReminderRequest{
			IdempotencyKey: r.key(), To: r.to(), Bill: bill, Step: r.Step, DaysUntilDue: r.Days, Options: r.options(),
		})
		return res.GetReceipt(), err
	})
}

func (s *Send) call(ctx context.Context, w io.Writer, t *telemetry.Telemetry,
	send func(ctx context.Context, c mailv1.MailServiceClient) (*mailv1.Receipt, error),
) error {
	conn, err := s.dial(s.Composer, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	receipt, err := send(s.authorize(ctx), mailv1.NewMailServiceClient(conn))
	if err != nil {
		return Explain(s.Composer, err)
	}
	_, err = fmt.Fprintf(w, "%s  %s  lane %s, expires %s\n", receipt.GetMailId(), state(receipt.GetState()),
		receipt.GetLane(), receipt.GetExpiresAt().AsTime().Local().Format(time.DateTime))
	return err
}

func (s *Send) to() *mailv1.Address { return &mailv1.Address{Email: s.To, DisplayName: s.Name} }

func (s *Send) options() *mailv1.Options { return &mailv1.Options{Locale: s.Locale} }

func (s *Send) key() string {
	if s.Key == "" {
		s.Key = uuid.NewString()
	}
	return s.Key
}

// money reads a decimal amount without going through floating point.
func money(currency, amount string) (*mailv1.Money, error) {
	whole, fraction, _ := strings.Cut(amount, ".")
	units, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(fraction) > 9 {
		return nil, fmt.Errorf("--amount %q is no amount of the form 125000 or 19.90", amount)
	}
	nanos, err := strconv.ParseUint("0"+fraction+strings.Repeat("0", 9-len(fraction)), 10, 31)
	if err != nil {
		return nil, fmt.Errorf("--amount %q is no amount of the form 125000 or 19.90", amount)
	}
	m := &mailv1.Money{CurrencyCode: currency, Units: units, Nanos: int32(nanos)}
	if strings.HasPrefix(amount, "-") {
		m.Nanos = -m.GetNanos()
	}
	return m, nil
}

// state is a state's name as people read it: "delivered".
func state(s mailv1.State) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STATE_"))
}
