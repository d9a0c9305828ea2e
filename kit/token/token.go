// Package token signs the small facts that a pixel, a link or an unsubscribe
// address carries, so that the tracker knows what a hit belongs to without a
// lookup and cannot be made into an open redirect.
//
// A token is base64url without padding over
//
//	key id (1) | flags (1) | fields, each with its length | MAC (16)
//
// where the MAC is HMAC-SHA256 (RFC 2104) cut to 128 bits over all before it.
// It is signed, not secret: whoever holds a token can read it, so no address
// and no code belongs into one. It stands in a path: /o/<token>.gif for the
// pixel, /c/<token> for a link, /u/<token> for unsubscribing.
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what a token carries, in bytes.
const (
	// MaxURL is the longest target.
	MaxURL = 2048
	// MaxField is the longest tenant, mail id or link label.
	MaxField = 128
)

// ErrInvalid is a token that was not signed by any key of the ring, or not by
// us at all. It deliberately says no more.
var ErrInvalid = errors.New("token is not valid")

// Claims are what a token vouches for.
type Claims struct {
	// Tenant whose mail it was.
	Tenant string
	// MailID of the mail; a lower-case UUID takes 16 bytes.
	MailID string
	// Link is the label of the link; "" for the pixel.
	Link string
	// URL is the http or https target of a link; "" for pixel and unsubscribe.
	URL string
	// Unsubscribe marks the token of an unsubscribe address.
	Unsubscribe bool
}

// Validate says what keeps c from being signed. What Verify answers always
// passes.
func (c Claims) Validate() error {
	for _, f := range []struct{ name, value string }{{"tenant", c.Tenant}, {"mail id", c.MailID}, {"link", c.Link}} {
		if len(f.value) > MaxField || !utf8.ValidString(f.value) {
			return fmt.Errorf("token: %s is not text of at most %d bytes", f.name, MaxField)
		}
	}
	if c.Tenant == "" || c.MailID == "" {
		return errors.New("token: tenant and mail id are required")
	}
	if c.URL == "" {
		return nil
	}
	if len(c.URL) > MaxURL {
		return fmt.Errorf("token: url is longer than %d bytes", MaxURL)
	}
	if !utf8.ValidString(c.URL) || strings.ContainsFunc(c.URL, func(r rune) bool { return unicode.IsControl(r) || r == ' ' }) {
		return errors.New("token: url holds white space or control characters")
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("token: url is not an absolute http or https address")
	}
	return nil
}

const (
	macSize = 16

	flagUnsubscribe = 1 << 0
	flagUUID        = 1 << 1
	flagsKnown      = flagUnsubscribe | flagUUID
)

// Sign makes the token for c with the ring's first key. Claims that do not
// pass [Claims.Validate] give "", which no ring verifies.
func (r *Ring) Sign(c Claims) string {
	if c.Validate() != nil {
		return ""
	}
	key := r.keys[0]
	buf := make([]byte, 0, 64+len(c.Tenant)+len(c.MailID)+len(c.Link)+len(c.URL))
	buf = append(buf, key.ID)
	buf = appendClaims(buf, c)
	buf = append(buf, mac(key, buf)...)
	return base64.RawURLEncoding.EncodeToString(buf)
}

// Verify reads a token signed by any key of the ring, in time that does not
// depend on how nearly right the MAC is. The error is [ErrInvalid].
func (r *Ring) Verify(tok string) (Claims, error) {
	const longest = 2 + 3*(2+MaxField) + 2 + MaxURL + macSize
	if len(tok) > base64.RawURLEncoding.EncodedLen(longest) {
		return Claims{}, ErrInvalid
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(tok)
	if err != nil || len(raw) < 2+macSize || base64.RawURLEncoding.EncodedLen(len(raw)) != len(tok) {
		return Claims{}, ErrInvalid // the length check: Go's decoder skips line ends
	}
	body, sum := raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	key, ok := r.key(body[0])
	if !ok || !hmac.Equal(mac(key, body), sum) {
		return Claims{}, ErrInvalid
	}
	c, ok := readClaims(body[1:])
	if !ok || c.Validate() != nil {
		return Claims{}, ErrInvalid
	}
	return c, nil
}

func mac(key Key, body []byte) []byte {
	h := hmac.New(sha256.New, key.Secret)
	_, _ = h.Write([]byte("kurir token 1\x00")) // other uses of the key sign other things
	_, _ = h.Write(body)
	return h.Sum(nil)[:macSize]
}

func appendClaims(b []byte, c Claims) []byte {
	var flags byte
	if c.Unsubscribe {
		flags |= flagUnsubscribe
	}
	id := []byte(c.MailID)
	if raw, ok := packUUID(c.MailID); ok {
		flags, id = flags|flagUUID, raw
	}
	b = append(b, flags)
	for _, f := range [][]byte{id, []byte(c.Tenant), []byte(c.Link), []byte(c.URL)} {
		b = binary.AppendUvarint(b, uint64(len(f)))
		b = append(b, f...)
	}
	return b
}

func readClaims(b []byte) (Claims, bool) {
	if b[0]&^flagsKnown != 0 {
		return Claims{}, false
	}
	flags, rest := b[0], b[1:]
	var fields [4]string
	for i := range fields {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return Claims{}, false
		}
		end := size + int(n) // n is at most len(rest)
		fields[i], rest = string(rest[size:end]), rest[end:]
	}
	if len(rest) != 0 {
		return Claims{}, false
	}
	id := fields[0]
	if flags&flagUUID != 0 {
		if len(id) != 16 {
			return Claims{}, false
		}
		id = unpackUUID([]byte(id))
	}
	return Claims{MailID: id, Tenant: fields[1], Link: fields[2], URL: fields[3], Unsubscribe: flags&flagUnsubscribe != 0}, true
}

// packUUID turns the canonical text form (RFC 9562 §4) into its 16 bytes.
func packUUID(s string) ([]byte, bool) {
	if len(s) != 36 {
		return nil, false
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != 16 || unpackUUID(raw) != s {
		return nil, false
	}
	return raw, true
}

func unpackUUID(b []byte) string {
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
