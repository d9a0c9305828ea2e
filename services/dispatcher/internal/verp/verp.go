// Package verp gives every mail a return path of its own (variable envelope
// return path): b+<mail id>@<return domain>, so that a bounce that comes back
// names the mail it is about whatever the bouncing server put into it.
package verp

import (
	"fmt"
	"strings"
)

const (
	prefix = "b+"
	maxID  = 62 // with the prefix, a local part of 64 octets (RFC 5321 §4.5.3.1.1)
)

// Encode makes the return path of a mail. The id is 1 to 62 letters, digits,
// '-', '_' or '.', as mail ids are; anything else is an error, and so is an
// empty domain.
func Encode(id, domain string) (string, error) {
	if !valid(id) {
		return "", fmt.Errorf("mail id of %d bytes cannot stand in a return path", len(id))
	}
	if domain == "" || strings.ContainsAny(domain, "@<>\r\n\x00 ") {
		return "", fmt.Errorf("return domain %q is no domain", domain)
	}
	return prefix + id + "@" + domain, nil
}

// Decode reads the mail id out of a return path; false when it is none of
// ours. The local part's case is kept, its prefix is read in either case.
func Decode(path string) (string, bool) {
	at := strings.LastIndexByte(path, '@')
	if at < len(prefix) || at == len(path)-1 || !strings.EqualFold(path[:len(prefix)], prefix) {
		return "", false
	}
	id := path[len(prefix):at]
	return id, valid(id)
}

// valid admits what is atext without quoting and unambiguous (RFC 5321 §4.1.2).
func valid(id string) bool {
	if id == "" || len(id) > maxID || id[0] == '.' || id[len(id)-1] == '.' || strings.Contains(id, "..") {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
