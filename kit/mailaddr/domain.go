package mailaddr

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxDomain = 253 // RFC 1035 §2.3.4 leaves this of the 255 of RFC 5321 §4.5.3.1.2
	maxLabel  = 63
)

// ParseDomain reads a domain mail can be sent to and answers it in lower-case
// A-labels. At least two labels, no trailing dot, no address literal. Errors
// are *[ParseError].
func ParseDomain(s string) (string, error) {
	fail := func(r Reason) (string, error) { return "", &ParseError{Reason: r} }
	switch {
	case s == "":
		return fail(DomainEmpty)
	case s[0] == '[':
		return fail(Literal)
	case len(s) > 4*maxDomain: // no honest domain is; keeps IDNA's work bounded
		return fail(DomainLong)
	case !utf8.ValidString(s):
		return fail(Encoding)
	case strings.ContainsFunc(s, isControl):
		return fail(Control)
	}
	domain := strings.ToLower(s)
	if !isASCII(domain) || hasALabel(domain) {
		// RFC 5891 §5: mapping, then the lookup checks (bidi, joiners, hyphens).
		ascii, err := idna.Lookup.ToASCII(domain)
		if err != nil {
			return fail(DomainSyntax)
		}
		domain = ascii
	}
	if len(domain) > maxDomain {
		return fail(DomainLong)
	}
	labels := strings.Split(domain, ".")
	for _, label := range labels {
		if len(label) > maxLabel {
			return fail(DomainLong)
		}
		if !isLDH(label) {
			return fail(DomainSyntax)
		}
	}
	if len(labels) < 2 {
		return fail(DomainSingle)
	}
	// An all-numeric top label is an IPv4 address in disguise (RFC 3696 §2).
	if top := labels[len(labels)-1]; strings.Trim(top, "0123456789") == "" {
		return fail(DomainSyntax)
	}
	return domain, nil
}

// isLDH says whether label is letters, digits and inner hyphens (RFC 5890
// §2.3.1), lower case.
func isLDH(label string) bool {
	if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, c := range []byte(label) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func hasALabel(domain string) bool {
	return strings.HasPrefix(domain, "xn--") || strings.Contains(domain, ".xn--")
}
