package mxsim

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
)

// maxText is the longest line of text, CRLF included (RFC 5321 §4.5.3.1.6).
const maxText = 1000

// body is what came between DATA and the final dot.
type body struct {
	data                      []byte
	tooLarge                  bool // read to its end, not kept
	bareCR, bareLF, longLines int
}

// readData reads up to CRLF.CRLF, and to nothing that merely looks like it
// (RFC 5321 §4.1.1.4): a dot between bare line feeds is text, as smuggling
// tests want it. Leading dots are unstuffed (RFC 5321 §4.5.2). hint is the
// size the client declared, 0 for none.
func readData(r *bufio.Reader, limit, hint int) (body, error) {
	b := body{data: make([]byte, 0, min(max(hint, 1024), 1<<20, limit))}
	fresh := true   // at the beginning of a line, after CRLF
	endsCR := false // the part before ended in CR, its LF may follow
	length := 0     // of the line so far
	for {
		part, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull { //nolint:errorlint // bufio returns it bare
			return body{}, err
		}
		ends := err == nil
		crlf := ends && (len(part) >= 2 && part[len(part)-2] == '\r' || len(part) == 1 && endsCR)
		if fresh && part[0] == '.' {
			if crlf && len(part) == 3 {
				return b, nil
			}
			part = part[1:]
		}
		endsCR = len(part) > 0 && part[len(part)-1] == '\r'
		length += len(part)
		b.bareCR += bytes.Count(part, []byte{'\r'})
		if ends {
			if crlf {
				b.bareCR--
			} else {
				b.bareLF++
			}
			if length > maxText {
				b.longLines++
			}
			length = 0
		}
		fresh = crlf
		if len(b.data)+len(part) > limit {
			b.tooLarge, b.data = true, b.data[:0]
		}
		if !b.tooLarge {
			b.data = append(b.data, part...)
		}
	}
}

// parsePath reads "FROM:<address> PARAMS" or "TO:<address> PARAMS"
// (RFC 5321 §4.1.2). The address is not judged; a source route is dropped.
func parsePath(arg, prefix string) (addr string, params []string, ok bool) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return "", nil, false
	}
	rest := strings.TrimLeft(arg[len(prefix):], " ")
	if rest == "" || rest[0] != '<' {
		return "", nil, false
	}
	quoted := false
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			addr = rest[1:i]
			if strings.HasPrefix(addr, "@") {
				if _, after, found := strings.Cut(addr, ":"); found {
					addr = after
				}
			}
			return addr, strings.Fields(strings.ToUpper(rest[i+1:])), true
		}
	}
	return "", nil, false
}

// declaredSize is the SIZE parameter (RFC 1870 §5), 0 without.
func declaredSize(params []string) int {
	for _, p := range params {
		if value, ok := strings.CutPrefix(p, "SIZE="); ok {
			if n, err := strconv.Atoi(value); err == nil {
				return n
			}
		}
	}
	return 0
}
