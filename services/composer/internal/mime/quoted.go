package mime

// A line of quoted-printable has at most 76 characters (RFC 2045 §6.7, rule 5);
// the last is kept for the "=" of a soft line break.
const quotedLine = 75

// appendQuoted appends s, whose line ends are LF, in quoted-printable: printable
// ASCII, spaces and tabs as they are, runs at a time; all else encoded; line
// ends as CRLF. What mime/quotedprintable writes for s, in less than half the time.
func appendQuoted(b []byte, s string) []byte {
	at := 0 // characters in the line
	for s != "" {
		run := 0
		for run < len(s) && literal(s[run]) {
			run++
		}
		line := s[:run]
		s = s[run:]
		for line != "" {
			if at == quotedLine {
				b, at = append(b, "=\r\n"...), 0
			}
			n := min(len(line), quotedLine-at)
			b, at, line = append(b, line[:n]...), at+n, line[n:]
		}
		if s == "" {
			break
		}
		if s[0] == '\n' {
			b, at = append(appendEnd(b, at), '\r', '\n'), 0
		} else {
			b, at = appendEncoded(b, at, s[0])
		}
		s = s[1:]
	}
	return appendEnd(b, at)
}

// appendEnd ends a line of at characters: a space or tab there is encoded
// (rule 3).
func appendEnd(b []byte, at int) []byte {
	if at == 0 {
		return b
	}
	last := b[len(b)-1]
	if last != ' ' && last != '\t' {
		return b
	}
	b, _ = appendEncoded(b[:len(b)-1], at-1, last)
	return b
}

// appendEncoded appends one encoded character to a line of at characters
// (rule 1).
func appendEncoded(b []byte, at int, c byte) ([]byte, int) {
	const hex = "0123456789ABCDEF"
	if at+3 > quotedLine {
		b, at = append(b, "=\r\n"...), 0
	}
	return append(b, '=', hex[c>>4], hex[c&0xf]), at + 3
}

// literal says whether a character may stand for itself (rules 2 and 3).
func literal(c byte) bool {
	return c >= ' ' && c <= '~' && c != '=' || c == '\t'
}
