package money_test

import (
	"errors"
	"math"
	"testing"

	"kurir.dev/services/composer/internal/money"
)

func TestKnownAndDigits(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]int{"IDR": 2, "USD": 2, "JPY": 0, "KWD": 3, "IQD": 3, "VND": 0} {
		if !money.Known(code) {
			t.Errorf("Known(%q) = false, want true", code)
		}
		if got := money.Digits(code); got != want {
			t.Errorf("Digits(%q) = %d, want %d", code, got, want)
		}
	}
	for _, code := range []string{"", "idr", "QQQ", "XXX", "XTS", "RUPIAH"} {
		if money.Known(code) {
			t.Errorf("Known(%q) = true, want false", code)
		}
	}
}

func TestAmountShape(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		give        money.Amount
		mixed, fits bool
	}{
		{money.Amount{Currency: "IDR", Units: 1, Nanos: 500_000_000}, false, true},
		{money.Amount{Currency: "IDR", Units: 1, Nanos: 1_000_000}, false, false},
		{money.Amount{Currency: "JPY", Units: 1, Nanos: 500_000_000}, false, false},
		{money.Amount{Currency: "KWD", Units: 1, Nanos: 1_000_000}, false, true},
		{money.Amount{Currency: "USD", Units: 1, Nanos: -10_000_000}, true, true},
		{money.Amount{Currency: "USD", Units: -1, Nanos: 10_000_000}, true, true},
		{money.Amount{Currency: "USD", Nanos: -10_000_000}, false, true},
	} {
		if got := c.give.Mixed(); got != c.mixed {
			t.Errorf("Mixed(%v) = %v, want %v", c.give, got, c.mixed)
		}
		if got := c.give.Fits(); got != c.fits {
			t.Errorf("Fits(%v) = %v, want %v", c.give, got, c.fits)
		}
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	usd := func(units int64, nanos int32) money.Amount {
		return money.Amount{Currency: "USD", Units: units, Nanos: nanos}
	}
	for _, c := range []struct {
		a, b, want money.Amount
		ok         bool
	}{
		{usd(1, 600_000_000), usd(2, 500_000_000), usd(4, 100_000_000), true},
		{usd(1, 0), usd(0, -10_000_000), usd(0, 990_000_000), true},
		{usd(-1, 0), usd(0, 10_000_000), usd(0, -990_000_000), true},
		{usd(0, -600_000_000), usd(0, -600_000_000), usd(-1, -200_000_000), true},
		{usd(5, 0), usd(-5, 0), usd(0, 0), true},
		{usd(math.MaxInt64, 0), usd(1, 0), money.Amount{}, false},
		{usd(math.MaxInt64, 500_000_000), usd(0, 500_000_000), money.Amount{}, false},
		{usd(math.MinInt64, 0), usd(-1, 0), money.Amount{}, false},
		{usd(1, 0), money.Amount{Currency: "IDR", Units: 1}, money.Amount{}, false},
	} {
		got, ok := c.a.Add(c.b)
		if got != c.want || ok != c.ok {
			t.Errorf("(%v).Add(%v) = %v, %v, want %v, %v", c.a, c.b, got, ok, c.want, c.ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"IDR 12500000", "USD 9.90", "USD -0.05", "EUR 1.", "IDR", "IDR 1 2", "USD 9223372036854775808", "USD 1.0000000001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := money.Parse(s)
		if err != nil {
			if !errors.Is(err, money.ErrSyntax) {
				t.Errorf("Parse(%q) = %v, want ErrSyntax", s, err)
			}
			return
		}
		if a.Mixed() {
			t.Errorf("Parse(%q) = %v with mixed signs", s, a)
		}
		again, err := money.Parse(a.String())
		if err != nil || again != a {
			t.Errorf("Parse(%q) = %v, %v, want %v", a.String(), again, err, a)
		}
	})
}
