// Package money holds exact amounts of ISO 4217 currencies: whole units and
// billionths, as they come in, never floating point.
package money

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/text/currency"
)

// nanosPerUnit is how many billionths make one unit.
const nanosPerUnit = 1_000_000_000

// ErrSyntax says that a text is no amount; see [Parse].
var ErrSyntax = errors.New("an amount is a currency and a decimal number, such as \"IDR 12500000\" or \"USD 9.90\"")

// Amount is an amount of money. The zero value is no amount at all: its
// currency is empty.
type Amount struct {
	// Currency is an ISO 4217 code, upper case.
	Currency string
	// Units are whole units of the currency.
	Units int64
	// Nanos are billionths of a unit, of the same sign as Units.
	Nanos int32
}

// Known reports whether code names a currency money can be in. The codes for
// testing and for "no currency" name none.
func Known(code string) bool {
	if len(code) != 3 || code != strings.ToUpper(code) || code == "XXX" || code == "XTS" {
		return false
	}
	_, err := currency.ParseISO(code)
	return err == nil
}

// Digits returns how many decimals ISO 4217 gives the currency: 2 for IDR and
// USD, 0 for JPY, 3 for KWD. An unknown code has 2.
func Digits(code string) int {
	usual := UsualDigits(code)
	if usual > 0 {
		return usual
	}
	switch code {
	// The currencies without a minor unit. CLDR counts more of them, those
	// whose minor unit is out of use, such as the sen of the rupiah.
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "IQD":
		return 3
	}
	return 2
}

// UsualDigits returns how many decimals people write, by CLDR: 0 for IDR,
// though it has a minor unit.
func UsualDigits(code string) int {
	unit, err := currency.ParseISO(code)
	if err != nil {
		return 2
	}
	scale, _ := currency.Standard.Rounding(unit)
	return scale
}

// Zero reports whether a is nothing.
func (a Amount) Zero() bool { return a.Units == 0 && a.Nanos == 0 }

// Negative reports whether a is less than nothing.
func (a Amount) Negative() bool { return a.Units < 0 || a.Nanos < 0 }

// Mixed reports whether the signs of units and nanos contradict, or the nanos
// exceed one unit: such a pair is no amount.
func (a Amount) Mixed() bool {
	return a.Units > 0 && a.Nanos < 0 || a.Units < 0 && a.Nanos > 0 ||
		a.Nanos >= nanosPerUnit || a.Nanos <= -nanosPerUnit
}

// Fits reports whether a has no more decimals than its currency.
func (a Amount) Fits() bool {
	step := int32(nanosPerUnit)
	for range Digits(a.Currency) {
		step /= 10
	}
	return a.Nanos%step == 0
}

// Add returns a+b; false when the currencies differ or the sum overflows.
func (a Amount) Add(b Amount) (Amount, bool) {
	if a.Currency != b.Currency {
		return Amount{}, false
	}
	units, nanos := a.Units, int64(a.Nanos)+int64(b.Nanos)
	carry := nanos / nanosPerUnit
	nanos %= nanosPerUnit
	for _, add := range []int64{b.Units, carry} {
		if add > 0 && units > math.MaxInt64-add || add < 0 && units < math.MinInt64-add {
			return Amount{}, false
		}
		units += add
	}
	switch {
	case units > 0 && nanos < 0:
		units, nanos = units-1, nanos+nanosPerUnit
	case units < 0 && nanos > 0:
		units, nanos = units+1, nanos-nanosPerUnit
	}
	return Amount{Currency: a.Currency, Units: units, Nanos: int32(nanos)}, true
}

// Parse reads "IDR 12500000.50". It returns [ErrSyntax] for anything else; it
// does not ask whether the currency is known.
func Parse(s string) (Amount, error) {
	code, number, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok || len(code) != 3 {
		return Amount{}, ErrSyntax
	}
	negative := strings.HasPrefix(number, "-")
	whole, fraction, dotted := strings.Cut(strings.TrimPrefix(number, "-"), ".")
	if !digits(whole) || dotted && (!digits(fraction) || len(fraction) > 9) {
		return Amount{}, ErrSyntax
	}
	units, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return Amount{}, fmt.Errorf("%w: out of range", ErrSyntax)
	}
	var nanos int64
	if dotted { // nine digits fit
		nanos, _ = strconv.ParseInt(fraction+strings.Repeat("0", 9-len(fraction)), 10, 32)
	}
	if negative {
		units, nanos = -units, -nanos
	}
	return Amount{Currency: code, Units: units, Nanos: int32(nanos)}, nil
}

// digits reports whether s is one decimal digit or more.
func digits(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

// String returns a in the form [Parse] reads; it is for machines.
func (a Amount) String() string {
	sign, units, nanos := "", a.Units, a.Nanos
	magnitude := uint64(units)
	if a.Negative() {
		sign, magnitude, nanos = "-", -magnitude, -nanos
	}
	if nanos == 0 {
		return fmt.Sprintf("%s %s%d", a.Currency, sign, magnitude)
	}
	return fmt.Sprintf("%s %s%d.%s", a.Currency, sign, magnitude, strings.TrimRight(fmt.Sprintf("%09d", nanos), "0"))
}
