package template

import (
	"slices"

	"golang.org/x/text/language"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// Match returns the locale of the template that serves a reader of the wanted
// one: itself, else a wider one (en-GB finds en), else one of the same language
// and script (id finds id-ID). The error has the reason LOCALE_UNKNOWN.
func (t *Template) Match(wanted string) (string, error) {
	if _, ok := t.locales[wanted]; ok {
		return wanted, nil
	}
	tag, err := language.Parse(wanted)
	if err != nil {
		return "", fault.Invalidf(faultv1.Reason_REASON_LOCALE_UNKNOWN, "options.locale", "is no BCP 47 locale")
	}
	for up := tag; up != language.Und; up = up.Parent() {
		if _, ok := t.locales[up.String()]; ok {
			return up.String(), nil
		}
	}
	base, _ := tag.Base()
	script, _ := tag.Script()
	for _, name := range t.Locales() {
		have := t.locales[name].tag
		if b, _ := have.Base(); b != base {
			continue
		}
		if s, _ := have.Script(); s == script {
			return name, nil
		}
	}
	return "", unknownLocale(wanted)
}

// MatchFirst returns the first of the wanted locales that [Template.Match]
// serves, else the template's first: for callers who asked for none.
func (t *Template) MatchFirst(wanted ...string) string {
	for _, w := range wanted {
		if got, err := t.Match(w); err == nil {
			return got
		}
	}
	return slices.Min(t.Locales())
}

// ParseLocale checks that a locale is well-formed and returns its canonical
// form. The error has the reason LOCALE_UNKNOWN.
func ParseLocale(s string) (string, error) {
	tag, err := language.Parse(s)
	if err != nil {
		return "", fault.Invalidf(faultv1.Reason_REASON_LOCALE_UNKNOWN, "options.locale", "is no BCP 47 locale")
	}
	return tag.String(), nil
}

// unknownLocale is a well-formed locale that the template does not have.
func unknownLocale(locale string) error {
	return fault.Invalidf(faultv1.Reason_REASON_LOCALE_UNKNOWN, "options.locale", "the template has no locale that serves %q", locale)
}
