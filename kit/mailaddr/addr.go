// Package mailaddr reads mail addresses as SMTP means them: the Mailbox of
// RFC 5321 §4.1.2, extended to UTF-8 local parts by RFC 6531 §3.3.
//
// What [Parse] accepts is canonical and safe on the wire:
//
//  1. The local part is a dot-string or a quoted string. Quotes that are not
//     needed are dropped, so "a.b"@x.test and a.b@x.test are one address.
//  2. The domain is looked up as IDNA2008 says (RFC 5891 §5) and kept as
//     lower-case A-labels. It has at least two labels; address literals,
//     single labels and numeric top labels are refused.
//  3. Lengths hold: local part 64 octets, address 254 (RFC 5321 §4.5.3.1).
//  4. No control character survives anywhere, CR, LF and NUL least of all.
//
// Errors never repeat the address, so they may be logged.
package mailaddr

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Addr is one mailbox. The zero value is no address. Addrs are comparable; two
// spellings of one mailbox may differ, which is what [Addr.Key] is for.
type Addr struct {
	local  string // unquoted
	domain string // lower-case A-labels
}

// Parse reads an address: local@domain, with nothing around it. Errors are
// *[ParseError].
func Parse(s string) (Addr, error) {
	if s == "" {
		return Addr{}, &ParseError{Reason: Empty}
	}
	if !utf8.ValidString(s) {
		return Addr{}, &ParseError{Reason: Encoding}
	}
	if strings.ContainsFunc(s, isControl) {
		return Addr{}, &ParseError{Reason: Control}
	}
	local, rest, reason := cutLocal(s)
	if reason != "" {
		return Addr{}, &ParseError{Reason: reason}
	}
	domain, err := ParseDomain(rest)
	if err != nil {
		return Addr{}, err
	}
	a := Addr{local: local, domain: domain}
	switch wire := a.String(); {
	case len(wire)-len(domain)-1 > maxLocal:
		return Addr{}, &ParseError{Reason: LocalTooLong}
	case len(wire) > maxAddr:
		return Addr{}, &ParseError{Reason: TooLong}
	}
	return a, nil
}

// String is the address as SMTP wants it, without angle brackets: the local
// part, quoted if it must be, and the domain in A-labels. "" for the zero Addr.
func (a Addr) String() string {
	if a.domain == "" {
		return ""
	}
	return quote(a.local) + "@" + a.domain
}

// Local is the local part without quotes or escapes.
func (a Addr) Local() string { return a.local }

// Domain is the domain in lower-case A-labels: what DNS is asked.
func (a Addr) Domain() string { return a.domain }

// Unicode is the address for people: as String, with the domain in U-labels.
func (a Addr) Unicode() string {
	if a.domain == "" {
		return ""
	}
	return quote(a.local) + "@" + unicodeDomain(a.domain)
}

// IsZero says whether a is no address.
func (a Addr) IsZero() bool { return a.domain == "" }

// NeedsSMTPUTF8 says whether only a server offering SMTPUTF8 (RFC 6531) can be
// given the address. The domain never asks for it, being ASCII already.
func (a Addr) NeedsSMTPUTF8() bool { return !isASCII(a.local) }

// Key names the mailbox behind the address, as far as is publicly known, for
// suppression and limits: NFC and lower case throughout; without the +tag
// where the provider ignores it, and without dots where it ignores those; one
// domain for providers with several. It is not an address to send to.
func (a Addr) Key() string {
	if a.domain == "" {
		return ""
	}
	local, domain := foldCase(a.local), a.domain
	rule := ruleOf(domain)
	if rule.domain != "" {
		domain = rule.domain
	}
	if rule.tags {
		if base, _, cut := strings.Cut(local, "+"); cut && base != "" {
			local = base
		}
	}
	if rule.dots {
		if bare := strings.ReplaceAll(local, ".", ""); bare != "" {
			local = bare
		}
	}
	return quote(local) + "@" + domain
}

// Redacted is the address for screens that need not show it: the first
// character of the local part, three stars, and the domain. Logs take
// [Addr.Hash] and [Addr.Domain] instead.
func (a Addr) Redacted() string {
	if a.domain == "" {
		return ""
	}
	r, size := utf8.DecodeRuneInString(a.local)
	if size == len(a.local) {
		return "***@" + a.domain
	}
	return string(r) + "***@" + a.domain
}

// Hash is a short stable pseudonym for logs: 12 hex digits of the SHA-256 of
// Key. It tells mailboxes apart; whoever already knows an address can
// recognise it. "" for the zero Addr.
func (a Addr) Hash() string {
	if a.domain == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(a.Key()))
	return hex.EncodeToString(sum[:6])
}

// foldCase is lower case in a form that further folding leaves alone.
func foldCase(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
}

func unicodeDomain(domain string) string {
	u, err := idna.Lookup.ToUnicode(domain)
	if err != nil {
		return domain
	}
	return u
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
