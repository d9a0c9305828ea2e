package submission_test

import (
	"context"
	"testing"
	"time"

	"kurir.dev/kit/lane"
	"kurir.dev/kit/mailaddr"
	"kurir.dev/kit/token"
	"kurir.dev/services/composer/internal/civil"
	"kurir.dev/services/composer/internal/money"
	"kurir.dev/services/composer/internal/submission"
	"kurir.dev/services/composer/internal/template"
)

// sink takes everything.
type sink struct{}

func (sink) Submit(_ context.Context, s *submission.Submission) (submission.Receipt, error) {
	return submission.Receipt{MailID: s.MailID}, nil
}

// BenchmarkSend measures checking, rendering and building one mail.
func BenchmarkSend(b *testing.B) {
	catalog, err := template.Builtin()
	if err != nil {
		b.Fatal(err)
	}
	from, err := mailaddr.Parse("no-reply@kurir.example")
	if err != nil {
		b.Fatal(err)
	}
	c := submission.New(submission.Config{
		Tenants: map[string]submission.Tenant{"t": {
			From: from, FromName: "Kurir", ReturnDomain: "bounce.kurir.example", Locale: "id-ID", Templates: catalog,
			Brand: template.Brand{Name: "Kurir"},
		}},
		Lanes: lane.Default(), PublicURL: "https://t.example", Tokens: token.Generate(), MaxBytes: 1 << 20,
		Now: time.Now, NewID: func() (string, error) { return "019a4270-0d80-7000-8000-000000000001", nil },
	})
	idr := func(n int64) money.Amount { return money.Amount{Currency: "IDR", Units: n} }
	invoice := submission.Bill{
		InvoiceID: "1", BillerName: "Nusanet", CustomerName: "Sari", DueOn: civil.Date{Year: 2026, Month: 11, Day: 21},
		Items: []submission.LineItem{{Description: "Internet", Amount: idr(100)}, {Description: "Sewa", Amount: idr(50)}},
		Total: idr(150), PayURL: "https://pay.example/1",
	}
	for name, item := range map[string]submission.Item{
		"otp":      &submission.OTP{Code: "123456", ProductName: "Nusapay", Origin: "nusapay.example"},
		"bill":     &invoice,
		"reminder": &submission.Reminder{Bill: invoice, Step: "due-3", DaysUntilDue: 3},
		"own":      &submission.Generic{Content: &submission.Content{Subject: "Halo", Text: "Halo", HTML: "<p>Halo <a href=\"https://x.example\">x</a></p>"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Send(b.Context(), sink{}, &submission.Request{
					Tenant: "t", To: &submission.Address{Email: "sari@example.co.id", Name: "Sari"}, Item: item,
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
