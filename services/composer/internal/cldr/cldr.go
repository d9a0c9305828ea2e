// Package cldr writes amounts, numbers, dates and spans of time the way the
// readers of a locale do, after Unicode's CLDR. Separators, grouping and
// currency symbols of every locale come from golang.org/x/text; the words
// (months, units of time) are here for Indonesian, Malay and English, and a
// locale of another language writes dates as 2026-11-21 and spans in English.
package cldr

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/currency"
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"

	"kurir.dev/services/composer/internal/civil"
	"kurir.dev/services/composer/internal/money"
)

// nbsp keeps a symbol and its number on one line.
const nbsp = "\u00a0"

// Locale formats for one locale. It is safe for concurrent use.
type Locale struct {
	tag     language.Tag
	base    string
	printer *message.Printer
	decimal string
	words   *words
}

// New returns the formats of tag.
func New(tag language.Tag) *Locale {
	base, _ := tag.Base()
	l := &Locale{tag: tag, base: base.String(), printer: message.NewPrinter(tag), decimal: ".", words: wordsOf(base.String())}
	for _, r := range l.printer.Sprint(number.Decimal(1.5, number.Scale(1))) {
		if !unicode.IsDigit(r) {
			l.decimal = string(r)
		}
	}
	return l
}

// Tag returns the locale in its BCP 47 form.
func (l *Locale) Tag() string { return l.tag.String() }

// Number returns n with the locale's digits and groups: "12.500" in id-ID.
func (l *Locale) Number(n int64) string {
	return l.printer.Sprint(number.Decimal(n))
}

// Money returns an amount with its symbol: "Rp12.500.000" in id-ID, "IDR
// 12,500,000" and "$1,234.50" in en. Decimals that nobody writes (the sen of
// the rupiah) stand only when they are not zero. No precision is lost.
func (l *Locale) Money(a money.Amount) string {
	magnitude, nanos := uint64(a.Units), a.Nanos
	sign := ""
	if a.Negative() {
		sign, magnitude, nanos = "-", -magnitude, -nanos
	}
	figure := l.printer.Sprint(number.Decimal(magnitude)) + l.fraction(a.Currency, nanos)
	symbol := l.symbol(a.Currency)
	if suffixed(l.base) {
		return sign + figure + nbsp + symbol
	}
	return sign + symbol + l.gap(a.Currency, symbol) + figure
}

// fraction returns the decimals, with their separator, that an amount shows.
func (l *Locale) fraction(code string, nanos int32) string {
	places := money.UsualDigits(code)
	if nanos != 0 {
		places = max(places, money.Digits(code))
	}
	all := fmt.Sprintf("%09d", nanos)
	// More decimals than the currency has are shown, not cut off.
	places = max(places, len(strings.TrimRight(all, "0")))
	if places == 0 {
		return ""
	}
	return l.decimal + all[:places]
}

// symbol returns what stands for the currency in this locale.
func (l *Locale) symbol(code string) string {
	unit, err := currency.ParseISO(code)
	if err != nil {
		return code
	}
	return l.printer.Sprint(currency.Symbol(unit))
}

// gap returns what stands between symbol and figure: CLDR's currencySpacing
// parts letters from digits. The rupiah is written without a gap in its own
// language ("Rp12.500", Ejaan yang Disempurnakan).
func (l *Locale) gap(code, symbol string) string {
	if code == "IDR" && l.base == "id" {
		return ""
	}
	if last, _ := utf8.DecodeLastRuneInString(symbol); unicode.IsLetter(last) {
		return nbsp
	}
	return ""
}

// suffixed reports whether a language writes the currency after the figure.
func suffixed(base string) bool {
	switch base {
	case "bg", "cs", "da", "de", "es", "fi", "fr", "hu", "it", "nb", "pl", "ro", "ru", "sk", "sv", "uk", "vi":
		return true
	}
	return false
}

// Date returns a day in full: "21 November 2026". The zero day is "".
func (l *Locale) Date(d civil.Date) string {
	if d.Zero() {
		return ""
	}
	if l.words.months == nil || d.Month < 1 || d.Month > 12 {
		return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day)
	}
	month := l.words.months[d.Month-1]
	if region, _ := l.tag.Region(); l.tag == language.AmericanEnglish && region.String() == "US" {
		return fmt.Sprintf("%s %d, %d", month, d.Day, d.Year)
	}
	return strconv.Itoa(d.Day) + " " + month + " " + strconv.Itoa(d.Year)
}

// Days returns a count of days: "3 hari", "1 day", "2 days".
func (l *Locale) Days(n int64) string { return l.count(n, l.words.day) }

// Duration returns a span of time by its two largest units, from days down to
// seconds: "5 menit", "1 minute 30 seconds". A negative span is written
// as its magnitude.
func (l *Locale) Duration(d time.Duration) string {
	d = d.Abs().Round(time.Second)
	steps := []struct {
		size time.Duration
		unit unit
	}{
		{24 * time.Hour, l.words.day},
		{time.Hour, l.words.hour},
		{time.Minute, l.words.minute},
		{time.Second, l.words.second},
	}
	var parts []string
	for _, s := range steps {
		if n := d / s.size; n > 0 {
			parts = append(parts, l.count(int64(n), s.unit))
			d %= s.size
		}
		if len(parts) == 2 {
			break
		}
	}
	if len(parts) == 0 {
		return l.count(0, l.words.second)
	}
	return strings.Join(parts, " ")
}

// count returns n with the form of the unit that its plural rule asks for.
func (l *Locale) count(n int64, u unit) string {
	form := u.other
	if plural.Cardinal.MatchPlural(l.words.tag, int(n%10_000_000), 0, 0, 0, 0) == plural.One {
		form = u.one
	}
	return l.Number(n) + " " + form
}
