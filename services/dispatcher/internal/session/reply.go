package session

import (
	"bufio"
	"errors"
	"strings"

	"kurir.dev/services/dispatcher/internal/outcome"
)

// Bounds of a reply: RFC 5321 §4.5.3.1.5 has 512 octets a line; servers write
// more, and a hostile one writes for ever.
const (
	maxLine  = 4096
	maxLines = 128
)

var errDesync = errors.New("what came is no SMTP reply")

// readReply reads one reply (RFC 5321 §4.2.1). errDesync says that the bytes
// were there and made no reply; other errors are the connection's.
func readReply(r *bufio.Reader) (outcome.Reply, error) {
	var reply outcome.Reply
	var text []string
	for range maxLines {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine {
			return reply, errDesync
		}
		if err != nil {
			return reply, err
		}
		code, rest, more, ok := splitLine(strings.TrimRight(string(line), "\r\n"))
		if !ok || reply.Code != 0 && code != reply.Code {
			return reply, errDesync
		}
		reply.Code = code
		enhanced, rest := splitEnhanced(code, rest)
		if reply.Enhanced == "" {
			reply.Enhanced = enhanced
		}
		text = append(text, rest)
		if !more {
			reply.Text = strings.Join(text, "\n")
			return reply, nil
		}
	}
	return reply, errDesync
}

// splitLine takes "250-text", "250 text" or "250" apart.
func splitLine(line string) (code int, rest string, more, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, "", false, false
	}
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0, "", false, false
		}
		code = code*10 + int(c-'0')
	}
	switch {
	case len(line) == 3:
		return code, "", false, true
	case line[3] == ' ':
		return code, line[4:], false, true
	case line[3] == '-':
		return code, line[4:], true, true
	}
	return 0, "", false, false
}

// splitEnhanced takes the enhanced status code off a line (RFC 2034 §4): its
// class must be that of the code.
func splitEnhanced(code int, line string) (enhanced, rest string) {
	word, after, _ := strings.Cut(line, " ")
	word = strings.TrimPrefix(word, "#") // as some appliances write it
	parts := strings.Split(word, ".")
	if len(parts) != 3 || parts[0] != string(rune('0'+code/100)) {
		return "", line
	}
	for _, p := range parts {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return "", line
		}
	}
	return word, after
}
