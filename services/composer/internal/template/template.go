// Package template holds the templates mail is rendered from. A template is a
// directory:
//
//	bill/template.yaml       name, version, kind, input, variables, sample
//	bill/style.css           optional: class rules, inlined at load
//	bill/id-ID/subject.txt   one line          (text/template)
//	bill/id-ID/mail.txt      the plain part    (text/template)
//	bill/id-ID/mail.html     optional          (html/template)
//	bill/en/...
//
// At load everything is compiled, each locale is rendered once with the sample,
// and whatever is wrong is an error then, not with the first mail. Variables
// are strict: one that is missing or not declared is refused by name.
//
// In a template the variables stand by their names, beside these:
//
//	brand_name brand_address accent   the tenant's
//	unsubscribe_url                   empty where there is none
//	subject                           the rendered subject (not in subject.txt)
//
// and these functions write for the template's locale: money, date, number,
// days, duration; given reports whether an optional value is there; lang is the
// locale; lower, paragraphs and brief work on text.
//
// An HTML template may begin with {{template "layout" .}} and define "brand",
// "preheader", "body" and "footer".
package template

import (
	"bytes"
	htmltemplate "html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	texttemplate "text/template"

	"golang.org/x/text/language"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/composer/internal/kind"
)

// Brand is how a tenant's mail is dressed.
type Brand struct {
	// Name heads mail that names nobody else.
	Name string
	// Address is the postal address in the footer; empty leaves it out.
	Address string
	// Accent is the colour of buttons, "#1a56db"; empty takes the default.
	Accent string
}

// defaultAccent is the colour of buttons.
const defaultAccent = "#1a56db"

// Template is one template with all its locales. It is immutable.
type Template struct {
	// Name is how callers ask for it.
	Name string
	// Version is repeated in every event of its mail.
	Version string
	// Kind is the kind of mail it makes.
	Kind kind.Kind
	// Input says which call fills it.
	Input Input
	// Description tells people what it is for.
	Description string
	// Variables are what it asks for, in the order of its schema.
	Variables []Variable

	sample  Values
	locales map[string]*localized
	buffers sync.Pool // of *bytes.Buffer: html/template writes in many pieces
}

// localized is a template in one locale.
type localized struct {
	tag           language.Tag
	subject, text *texttemplate.Template
	html          *htmltemplate.Template // nil for a plain mail
}

// Rendered is what a template makes of its variables.
type Rendered struct {
	// Subject is one line.
	Subject string
	// Text is the plain part.
	Text string
	// HTML is the other part; empty when the template has none.
	HTML string
	// Locale is the one that was used.
	Locale string
}

// Locales returns the template's locales, sorted.
func (t *Template) Locales() []string { return slices.Sorted(maps.Keys(t.locales)) }

// Sample returns the values of the template's own example, complete.
func (t *Template) Sample() Values { return maps.Clone(t.sample) }

// Bind reads variables given as text. The error is a fault of the reason
// TEMPLATE_VARIABLES that names every missing, surplus and malformed one.
func (t *Template) Bind(given map[string]string) (Values, error) {
	out := make(Values, len(t.Variables))
	bad := fault.Newf(fault.Invalid, faultv1.Reason_REASON_TEMPLATE_VARIABLES, "the variables do not fit template %s", t.Name)
	used := 0
	for _, v := range t.Variables {
		text, ok := given[v.Name]
		if ok {
			used++
		}
		switch {
		case !ok && v.Required:
			bad = bad.WithField(field(v.Name), "is missing")
		case text == "" && v.Required && v.Type == Text:
			bad = bad.WithField(field(v.Name), "is empty")
		case !ok || text == "" && !v.Required:
			out[v.Name], _ = zero(v.Type)
		default:
			value, err := parseValue(v.Type, text)
			if err != nil {
				bad = bad.WithField(field(v.Name), err.Error())
				continue
			}
			out[v.Name] = value
		}
	}
	if used < len(given) {
		for _, name := range slices.Sorted(maps.Keys(given)) {
			if !t.declares(name) {
				bad = bad.WithField(field(name), "is not a variable of the template")
			}
		}
	}
	if len(bad.Fields) > 0 {
		return nil, bad
	}
	return out, nil
}

// Fill takes from values what the template declares; the rest is empty. It is
// for the inputs with a standard set, of which a template may use a part.
func (t *Template) Fill(values Values) (Values, error) {
	out := make(Values, len(t.Variables))
	for _, v := range t.Variables {
		value, ok := values[v.Name]
		if !ok {
			value, _ = zero(v.Type)
		}
		if v.Required && (!ok || !given(value)) {
			return nil, fault.Invalidf(faultv1.Reason_REASON_TEMPLATE_VARIABLES, field(v.Name), "is missing and template %s requires it", t.Name)
		}
		out[v.Name] = value
	}
	return out, nil
}

// declares reports whether the template has the variable.
func (t *Template) declares(name string) bool {
	return slices.ContainsFunc(t.Variables, func(v Variable) bool { return v.Name == name })
}

// field is the path of a variable as a field violation names it.
func field(name string) string { return "variables[" + name + "]" }

// Dress is what a rendering has beside the variables.
type Dress struct {
	// Brand is the tenant's.
	Brand Brand
	// Unsubscribe is the address that ends such mail; empty for none.
	Unsubscribe string
	// Follow makes the click link of a URL variable, labelled by its name
	// without "_url"; nil leaves it as it is.
	Follow func(label, url string) string
}

// Render makes a mail of complete values (from [Template.Bind],
// [Template.Fill] or [Template.Sample]) in a locale from [Template.Match].
func (t *Template) Render(locale string, values Values, dress Dress) (*Rendered, error) {
	l, ok := t.locales[locale]
	if !ok {
		return nil, unknownLocale(locale)
	}
	accent := dress.Brand.Accent
	if accent == "" {
		accent = defaultAccent
	}
	data := make(map[string]any, len(values)+5)
	for _, v := range t.Variables {
		value := values[v.Name]
		if s, _ := value.(string); v.Type == URL && s != "" && dress.Follow != nil {
			value = dress.Follow(strings.TrimSuffix(v.Name, "_url"), s)
		}
		data[v.Name] = value
	}
	data["brand_name"], data["brand_address"] = dress.Brand.Name, dress.Brand.Address
	data["accent"], data["unsubscribe_url"] = accent, dress.Unsubscribe

	buf, ok := t.buffers.Get().(*bytes.Buffer)
	if !ok {
		buf = new(bytes.Buffer)
	}
	defer t.buffers.Put(buf)
	out := &Rendered{Locale: locale}
	subject, err := execute(buf, l.subject, data)
	if err != nil {
		return nil, t.broken(err)
	}
	// A no-break space would have the whole line encoded, for nothing.
	if out.Subject = strings.TrimSpace(strings.ReplaceAll(subject, "\u00a0", " ")); strings.ContainsAny(out.Subject, "\r\n\x00") {
		return nil, t.split(values)
	}
	data["subject"] = out.Subject
	if out.Text, err = execute(buf, l.text, data); err != nil {
		return nil, t.broken(err)
	}
	out.Text = tidy(out.Text)
	if l.html != nil {
		if out.HTML, err = execute(buf, l.html, data); err != nil {
			return nil, t.broken(err)
		}
		out.HTML = strings.TrimSpace(out.HTML) + "\n"
	}
	return out, nil
}

// executor is a compiled template, text or HTML.
type executor interface {
	Execute(w io.Writer, data any) error
}

// execute renders one part.
func execute(buf *bytes.Buffer, t executor, data map[string]any) (string, error) {
	buf.Reset()
	err := t.Execute(buf, data)
	return buf.String(), err
}

// broken is a template that loaded and cannot render: its own fault.
func (t *Template) broken(err error) error {
	return fault.Newf(fault.Internal, faultv1.Reason_REASON_INTERNAL, "template %s does not render", t.Name).WithCause(err)
}

// split is a value that would end the subject line.
func (t *Template) split(values Values) error {
	name := "subject"
	for _, v := range t.Variables {
		if s, _ := values[v.Name].(string); strings.ContainsAny(s, "\r\n\x00") {
			name = field(v.Name)
			break
		}
	}
	return fault.Invalidf(faultv1.Reason_REASON_HEADER_INJECTION, name, "holds CR, LF or NUL and stands in the subject")
}

// tidy takes the blank lines out that conditions left, and the blanks at line
// ends; the text ends in one line end.
func tidy(s string) string {
	var out strings.Builder
	out.Grow(len(s))
	blank := true // no blank lines at the top
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" && blank {
			continue
		}
		blank = line == ""
		out.WriteString(line)
		out.WriteByte('\n')
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}
