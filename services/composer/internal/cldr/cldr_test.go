package cldr_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"golang.org/x/text/language"

	"kurir.dev/services/composer/internal/civil"
	"kurir.dev/services/composer/internal/cldr"
	"kurir.dev/services/composer/internal/money"
)

func locale(tag string) *cldr.Locale { return cldr.New(language.MustParse(tag)) }

func TestMoney(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tag  string
		give money.Amount
		want string
	}{
		{"id-ID", money.Amount{Currency: "IDR", Units: 12_500_000}, "Rp12.500.000"},
		{"id", money.Amount{Currency: "IDR", Units: 1234, Nanos: 500_000_000}, "Rp1.234,50"},
		{"id-ID", money.Amount{Currency: "IDR", Units: -50_000}, "-Rp50.000"},
		{"id-ID", money.Amount{Currency: "IDR"}, "Rp0"},
		{"id-ID", money.Amount{Currency: "USD", Units: 1234, Nanos: 500_000_000}, "US$1.234,50"},
		{"en", money.Amount{Currency: "IDR", Units: 12_500_000}, "IDR\u00a012,500,000"},
		{"en", money.Amount{Currency: "USD", Units: 1234, Nanos: 500_000_000}, "$1,234.50"},
		{"en", money.Amount{Currency: "USD", Nanos: -10_000_000}, "-$0.01"},
		{"en", money.Amount{Currency: "KWD", Units: 1, Nanos: 5_000_000}, "KWD\u00a01.005"},
		{"en", money.Amount{Currency: "JPY", Units: 900}, "¥900"},
		{"en", money.Amount{Currency: "USD", Units: math.MaxInt64, Nanos: 990_000_000}, "$9,223,372,036,854,775,807.99"},
		{"en", money.Amount{Currency: "USD", Units: math.MinInt64}, "-$9,223,372,036,854,775,808.00"},
		{"en-IN", money.Amount{Currency: "INR", Units: 1_234_567}, "₹12,34,567.00"},
		{"de-DE", money.Amount{Currency: "EUR", Units: 1234, Nanos: 500_000_000}, "1.234,50\u00a0€"},
	} {
		if got := locale(c.tag).Money(c.give); got != c.want {
			t.Errorf("Money(%s, %v) = %q, want %q", c.tag, c.give, got, c.want)
		}
	}
}

func TestDate(t *testing.T) {
	t.Parallel()
	day := civil.Date{Year: 2026, Month: 8, Day: 1}
	for tag, want := range map[string]string{
		"id-ID": "1 Agustus 2026", "en": "1 August 2026", "en-GB": "1 August 2026",
		"en-US": "August 1, 2026", "ms-MY": "1 Ogos 2026", "fr": "2026-08-01",
	} {
		if got := locale(tag).Date(day); got != want {
			t.Errorf("Date(%s) = %q, want %q", tag, got, want)
		}
	}
	if got := locale("en").Date(civil.Date{}); got != "" {
		t.Errorf("Date(zero) = %q, want nothing", got)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tag  string
		give time.Duration
		want string
	}{
		{"id-ID", 5 * time.Minute, "5 menit"},
		{"en", time.Minute, "1 minute"},
		{"en", 5 * time.Minute, "5 minutes"},
		{"en", 90 * time.Second, "1 minute 30 seconds"},
		{"en", 49*time.Hour + 30*time.Minute, "2 days 1 hour"},
		{"en", 0, "0 seconds"},
		{"fr", time.Hour, "1 hour"},
	} {
		if got := locale(c.tag).Duration(c.give); got != c.want {
			t.Errorf("Duration(%s, %v) = %q, want %q", c.tag, c.give, got, c.want)
		}
	}
	if got, want := locale("id").Days(3), "3 hari"; got != want {
		t.Errorf("Days(3) = %q, want %q", got, want)
	}
}

func TestLocaleConcurrent(t *testing.T) {
	t.Parallel()
	l := locale("id-ID")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if got, want := l.Money(money.Amount{Currency: "IDR", Units: 1000}), "Rp1.000"; got != want {
					t.Errorf("Money = %q, want %q", got, want)
				}
			}
		})
	}
	wg.Wait()
}
