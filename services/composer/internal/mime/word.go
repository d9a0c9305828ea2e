package mime

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

const (
	// maxWord is the length of an encoded word. RFC 2047 §2 allows 75; less
	// keeps the line within 76 beside the longest header name.
	maxWord = 64
	// frame is what "=?utf-8?Q?" and "?=" take of it.
	frame = len("=?utf-8?Q?") + len("?=")
	// longWord is the longest word that is left as it is; longer ones are
	// encoded, because encoded words can be folded anywhere.
	longWord = 64
)

// Unsafe reports whether s holds CR, LF or NUL, which would end a header or
// smuggle in another.
func Unsafe(s string) bool { return strings.ContainsAny(s, "\r\n\x00") }

// printable reports whether s is printable ASCII.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// plain reports whether s can stand in an unstructured header as it is:
// single spaces, so that folding loses none, and nothing like encoded words.
func plain(s string) bool {
	if !printable(s) || strings.Contains(s, "=?") {
		return false
	}
	for word := range strings.SplitSeq(s, " ") {
		if len(word) > longWord || word == "" && s != "" {
			return false
		}
	}
	return true
}

// phrase returns a display name (RFC 5322 §3.2.5) in words to fold between:
// atoms, one quoted string, or encoded words.
func phrase(name string) []string {
	if !plain(name) {
		return encodedWords(name)
	}
	if strings.Trim(name, atomChars+" ") == "" {
		return strings.Split(name, " ")
	}
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	if len(quoted) > longWord {
		return encodedWords(name)
	}
	return []string{quoted}
}

// atomChars are those of an atom, RFC 5322 §3.2.3.
const atomChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~"

// encodedWords returns s in encoded words (RFC 2047), whole runes in each:
// Q when that is shorter, as it is for mostly ASCII text, else B. Bytes that
// are not UTF-8 become U+FFFD.
func encodedWords(s string) []string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	q := 0
	for i := range len(s) {
		q += qLen(s[i])
	}
	if q <= base64.StdEncoding.EncodedLen(len(s)) {
		return split(s, "=?utf-8?Q?", qEncode, func(chunk string) int {
			n := 0
			for i := range len(chunk) {
				n += qLen(chunk[i])
			}
			return n
		})
	}
	return split(s, "=?utf-8?B?", func(chunk string) string {
		return base64.StdEncoding.EncodeToString([]byte(chunk))
	}, func(chunk string) int { return base64.StdEncoding.EncodedLen(len(chunk)) })
}

// split cuts s into the longest runs of whole runes whose encoding fits a word.
func split(s, open string, encode func(chunk string) string, size func(chunk string) int) []string {
	var words []string
	for s != "" {
		n := 0
		for n < len(s) {
			_, width := utf8.DecodeRuneInString(s[n:])
			if n > 0 && size(s[:n+width]) > maxWord-frame {
				break
			}
			n += width
		}
		words = append(words, open+encode(s[:n])+"?=")
		s = s[n:]
	}
	return words
}

// qLen is how many characters the Q encoding makes of c.
func qLen(c byte) int {
	if c == ' ' || qSafe(c) {
		return 1
	}
	return 3
}

// qSafe reports whether c stands for itself in a Q word wherever the word
// stands: RFC 2047 §5 (3) allows least inside a phrase.
func qSafe(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!*+-/", c) >= 0
}

// qEncode is the Q encoding, RFC 2047 §4.2.
func qEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			b.WriteByte('_')
		case qSafe(c):
			b.WriteByte(c)
		default:
			b.Write([]byte{'=', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
