package template

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"kurir.dev/services/composer/internal/civil"
	"kurir.dev/services/composer/internal/kind"
	"kurir.dev/services/composer/internal/money"
)

// Input says which call fills a template's variables.
type Input string

// The inputs. Those but [Variables] promise a fixed set, see [Standard].
const (
	// Variables are given by name, as text; the default.
	Variables Input = "variables"
	// OTP is filled from a SendOtp.
	OTP Input = "otp"
	// Bill is filled from a SendBill.
	Bill Input = "bill"
	// Reminder is filled from a SendReminder.
	Reminder Input = "reminder"
)

// Type is what a variable holds. A value given as text is read accordingly, so
// that the template can write it in its own locale.
type Type string

// The types, and the Go value a template finds under the name.
const (
	// Text is a string; the default.
	Text Type = "text"
	// Number is an int64, given as "12".
	Number Type = "number"
	// Money is a money.Amount, given as "IDR 12500000" or "USD 9.90".
	Money Type = "money"
	// Date is a civil.Date, given as "2026-11-21".
	Date Type = "date"
	// Duration is a time.Duration, given as "5m".
	Duration Type = "duration"
	// URL is a string: an http or https address, followed where the kind is.
	URL Type = "url"
	// Rows are a []Row; they cannot be given as text.
	Rows Type = "rows"
)

// Row is one line of a bill.
type Row struct {
	// Description is what is charged.
	Description string
	// Quantity is how many; 0 hides it.
	Quantity int64
	// UnitPrice is the price of one; the zero amount hides it.
	UnitPrice money.Amount
	// Amount is what the row adds to the total.
	Amount money.Amount
}

// Values are the variables of one mail by name, each of its variable's type.
type Values map[string]any

// Variable describes one variable of a template.
type Variable struct {
	// Name is lower case letters, digits and underscores.
	Name string `yaml:"name"`
	// Type is what it holds; empty is text.
	Type Type `yaml:"type"`
	// Required variables must be given; others are empty when they are not.
	Required bool `yaml:"required"`
	// Description tells people what it means.
	Description string `yaml:"description"`
}

// schema is template.yaml.
type schema struct {
	Name        string         `yaml:"name"`
	Version     string         `yaml:"version"`
	Kind        kind.Kind      `yaml:"kind"`
	Input       Input          `yaml:"input"`
	Description string         `yaml:"description"`
	Variables   []Variable     `yaml:"variables"`
	Sample      map[string]any `yaml:"sample"`
}

// names match what template and variable names look like.
var (
	templateName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,99}$`)
	variableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

// parseSchema reads template.yaml strictly.
func parseSchema(raw []byte) (*schema, error) {
	s := &schema{Input: Variables}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("reading template.yaml: %w", err)
	}
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !templateName.MatchString(s.Name) {
		fail("name %q is not lower case letters, digits and hyphens", s.Name)
	}
	if s.Version == "" || len(s.Version) > 32 {
		fail("version is empty or longer than 32")
	}
	standard, known := Standard(s.Input)
	if !known {
		fail("input %q is none of variables, otp, bill, reminder", s.Input)
	}
	seen := map[string]bool{}
	for i := range s.Variables {
		v := &s.Variables[i]
		if v.Type == "" {
			v.Type = Text
		}
		if _, ok := zero(v.Type); !ok {
			fail("variable %q: type %q is none of text, number, money, date, duration, url, rows", v.Name, v.Type)
		}
		if !variableName.MatchString(v.Name) || reserved(v.Name) || seen[v.Name] {
			fail("variable %q: the name is malformed, reserved or taken", v.Name)
		}
		seen[v.Name] = true
		if want, fixed := standard[v.Name]; s.Input != Variables && (!fixed || want != v.Type) {
			fail("variable %q: the input %s has none of that name and type", v.Name, s.Input)
		}
	}
	return s, errors.Join(faults...)
}

// Standard returns the variables, with their types, that an input fills; none
// for [Variables], and false for an input that does not exist.
func Standard(in Input) (map[string]Type, bool) {
	bill := map[string]Type{
		"biller_name": Text, "customer_name": Text, "number": Text, "invoice_id": Text, "period": Text,
		"issued_on": Date, "due_on": Date, "items": Rows, "tax": Money, "subtotal": Money, "total": Money,
		"pay_url": URL,
	}
	switch in {
	case Variables:
		return nil, true
	case OTP:
		return map[string]Type{
			"code": Text, "product_name": Text, "purpose": Text, "expires_in": Duration, "origin": Text, "autofill": Text,
		}, true
	case Bill:
		return bill, true
	case Reminder:
		bill["stage"], bill["days"], bill["step"] = Text, Number, Text
		return bill, true
	}
	return nil, false
}

// zero returns the empty value of a type; false for no type.
func zero(t Type) (any, bool) {
	switch t {
	case Text, URL:
		return "", true
	case Number:
		return int64(0), true
	case Money:
		return money.Amount{}, true
	case Date:
		return civil.Date{}, true
	case Duration:
		return time.Duration(0), true
	case Rows:
		return []Row(nil), true
	}
	return nil, false
}

// parseValue reads a value given as text. The error completes the sentence
// that begins with the variable's name; it does not repeat the value.
func parseValue(t Type, s string) (any, error) {
	switch t {
	case Text:
		return s, nil
	case Number:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, errors.New("a number is decimal digits, such as \"12\"")
		}
		return n, nil
	case Money:
		a, err := money.Parse(s)
		switch {
		case err != nil:
			return nil, money.ErrSyntax
		case !money.Known(a.Currency):
			return nil, errors.New("the currency is no known ISO 4217 code")
		case !a.Fits():
			return nil, errors.New("the amount has more decimals than its currency")
		}
		return a, nil
	case Date:
		d, err := civil.Parse(s)
		if err != nil {
			return nil, civil.ErrSyntax
		}
		return d, nil
	case Duration:
		d, err := time.ParseDuration(s)
		if err != nil {
			return nil, errors.New("a duration is a number and a unit, such as \"5m\"")
		}
		return d, nil
	case URL:
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errors.New("an address is absolute, http or https")
		}
		return s, nil
	case Rows:
	}
	return nil, errors.New("rows cannot be given as text")
}

// sampleValues reads the sample of template.yaml.
func (s *schema) sampleValues() (Values, error) {
	out := Values{}
	for _, v := range s.Variables {
		raw, given := s.Sample[v.Name]
		if !given {
			continue
		}
		var err error
		if v.Type == Rows {
			out[v.Name], err = sampleRows(raw)
		} else {
			out[v.Name], err = parseValue(v.Type, fmt.Sprint(raw))
		}
		if err != nil {
			return nil, fmt.Errorf("sample of %q: %w", v.Name, err)
		}
	}
	for name := range s.Sample {
		if _, known := out[name]; !known {
			return nil, fmt.Errorf("sample of %q: no such variable", name)
		}
	}
	return out, nil
}

// sampleRows reads a list of {description, quantity, unit_price, amount}.
func sampleRows(raw any) ([]Row, error) {
	text, err := yaml.Marshal(raw)
	if err != nil {
		return nil, fmt.Errorf("reading rows: %w", err)
	}
	var list []struct {
		Description string `yaml:"description"`
		Quantity    int64  `yaml:"quantity"`
		UnitPrice   string `yaml:"unit_price"`
		Amount      string `yaml:"amount"`
	}
	if err := yaml.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("reading rows: %w", err)
	}
	rows := make([]Row, len(list))
	for i, item := range list {
		rows[i] = Row{Description: item.Description, Quantity: item.Quantity}
		if rows[i].Amount, err = money.Parse(item.Amount); err != nil {
			return nil, err
		}
		if item.UnitPrice != "" {
			if rows[i].UnitPrice, err = money.Parse(item.UnitPrice); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}
