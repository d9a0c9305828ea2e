package outcome

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// GreylistWait is waited after a greylisting that named no time: long enough
// for nearly all greylists, short enough for a one-time password.
const GreylistWait = time.Minute

const (
	maxHint = 24 * time.Hour
	maxText = 400
)

// Hint reads how long a reply asks to wait: "try again in 60 seconds", "come
// back in 00:05:00", "retry after 5 min". 0 when it does not say; never more
// than a day.
func Hint(text string) time.Duration {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	if m := clockPattern.FindStringSubmatch(text); m != nil {
		return clampHint(number(m[1])*3600 + number(m[2])*60 + number(m[3]))
	}
	m := unitPattern.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	unit := 1
	switch m[2][0] {
	case 'm':
		unit = 60
	case 'h':
		unit = 3600
	}
	return clampHint(number(m[1]) * unit)
}

// The words between the request and the number are few on purpose: a text
// such as "retry; limit is 60 seconds" is no request to wait 60 seconds.
const hintLead = `(?:again|retry|back|wait|greylisted|graylisted|greylisting|deferred|delayed|blocked)[a-z ,:()]{0,24}?(?:in|after|for|within|wait|at least)?[ :=(]{0,3}`

// Compiled once; regexps are read-only and safe for concurrent use.
var (
	clockPattern = regexp.MustCompile(hintLead + `(\d{1,2}):(\d{2}):(\d{2})\b`)
	unitPattern  = regexp.MustCompile(hintLead + `(\d{1,6}) ?(s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hrs|hour|hours)\b`)
	// An address in angle brackets or bare, quoted local parts included.
	addressPattern = regexp.MustCompile(`(?:"[^"\n]{0,64}"|[^\s<>"'(),;:=\[\]]{1,128})@[^\s<>"'(),;]{1,255}`)
)

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

func clampHint(seconds int) time.Duration {
	return min(time.Duration(seconds)*time.Second, maxHint)
}

// Sanitize makes a reply's text fit for events, logs and reports: one line,
// printable, addresses replaced, at most 400 bytes.
func Sanitize(text string) string {
	text = strings.ToValidUTF8(text, "?")
	text = addressPattern.ReplaceAllString(text, "(address)")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= maxText {
		return text
	}
	cut := maxText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}
