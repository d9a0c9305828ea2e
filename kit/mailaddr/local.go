package mailaddr

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxLocal = 64  // RFC 5321 §4.5.3.1.1
	maxAddr  = 254 // RFC 5321 §4.5.3.1.3: a path is 256 with its brackets
)

// cutLocal splits s into the local part, unquoted, and what follows its @.
// The reason is "" when that went well.
func cutLocal(s string) (local, domain string, reason Reason) {
	if s[0] == '"' {
		return cutQuoted(s)
	}
	at := strings.IndexByte(s, '@')
	switch {
	case at < 0:
		return "", "", NoAt
	case at == 0:
		return "", "", LocalEmpty
	}
	local, domain = s[:at], s[at+1:]
	if !isDotString(local) {
		if !strings.ContainsFunc(local, func(r rune) bool { return r != '.' && !isAtext(r) }) {
			return "", "", LocalDots
		}
		return "", "", LocalChar
	}
	return local, domain, ""
}

// cutQuoted reads a Quoted-string (RFC 5321 §4.1.2) and the @ after it.
func cutQuoted(s string) (local, domain string, reason Reason) {
	var b strings.Builder
	for i := 1; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch {
		case r == '"':
			if b.Len() == 0 {
				return "", "", LocalEmpty
			}
			if i == len(s) || s[i] != '@' {
				return "", "", LocalQuote
			}
			return b.String(), s[i+1:], ""
		case r == '\\':
			// quoted-pairSMTP: a backslash and one printable ASCII character.
			if i == len(s) || s[i] < ' ' || s[i] > '~' {
				return "", "", LocalQuote
			}
			b.WriteByte(s[i])
			i++
		case r >= ' ' && r <= '~' || isUTF8(r):
			b.WriteRune(r)
		default:
			return "", "", LocalChar
		}
	}
	return "", "", LocalQuote
}

// quote writes a local part with quotes if it cannot go without.
func quote(local string) string {
	if isDotString(local) {
		return local
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(local) {
		if c := local[i]; c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(local[i])
	}
	b.WriteByte('"')
	return b.String()
}

// isDotString says whether s is a Dot-string: atoms joined by single dots.
func isDotString(s string) bool {
	dot := true // a dot may not stand here
	for _, r := range s {
		if r == '.' {
			if dot {
				return false
			}
			dot = true
			continue
		}
		if !isAtext(r) {
			return false
		}
		dot = false
	}
	return !dot
}

// isAtext is the atext of RFC 5322 §3.2.3, with UTF8-non-ascii added by
// RFC 6531 §3.3.
func isAtext(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return true
	case r < utf8.RuneSelf:
		return strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return isUTF8(r)
}

// isUTF8 admits the non-ASCII characters that people can see, and the two
// joiners that some scripts are spelt with; no other space, format or control
// character, since none of those has an honest use in an address.
func isUTF8(r rune) bool {
	const zwnj, zwj = '\u200c', '\u200d'
	return r >= utf8.RuneSelf && r != utf8.RuneError && (unicode.IsPrint(r) || r == zwnj || r == zwj)
}

func isControl(r rune) bool { return unicode.IsControl(r) }
