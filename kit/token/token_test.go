package token_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"kurir.dev/kit/token"
)

const mailID = "0192f0c1-7b1e-7cc3-9b6f-0123456789ab"

func key(id uint8) token.Key {
	return token.Key{ID: id, Secret: bytes.Repeat([]byte{id}, 32)}
}

func ring(tb testing.TB, ids ...uint8) *token.Ring {
	tb.Helper()
	var keys []token.Key
	for _, id := range ids {
		keys = append(keys, key(id))
	}
	r, err := token.NewRing(keys...)
	if err != nil {
		tb.Fatalf("NewRing(%v): %v", ids, err)
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := ring(t, 1)
	tests := []struct {
		name   string
		claims token.Claims
		max    int // length of the token
	}{
		{"pixel", token.Claims{Tenant: "acme", MailID: mailID}, 60},
		{"link", token.Claims{Tenant: "acme", MailID: mailID, Link: "pay", URL: "https://pay.acme.test/i/INV-1?x=1"}, 105},
		{"unsubscribe", token.Claims{Tenant: "acme", MailID: mailID, Unsubscribe: true}, 60},
		{"odd mail id", token.Claims{Tenant: "acme", MailID: strings.ToUpper(mailID)}, 90},
		{"all", token.Claims{Tenant: strings.Repeat("t", token.MaxField), MailID: "m", Link: strings.Repeat("l", token.MaxField), URL: "http://x.test/" + strings.Repeat("u", token.MaxURL-14), Unsubscribe: true}, 4000},
	}
	for _, tt := range tests {
		tok := r.Sign(tt.claims)
		if len(tok) > tt.max || tok == "" {
			t.Errorf("%s: Sign = %d characters, want 1 to %d", tt.name, len(tok), tt.max)
		}
		if got, err := r.Verify(tok); err != nil || got != tt.claims {
			t.Errorf("%s: Verify(Sign(%+v)) = %+v, %v", tt.name, tt.claims, got, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	r := ring(t, 1)
	for _, c := range []token.Claims{
		{},
		{Tenant: "a"},
		{MailID: "m"},
		{Tenant: strings.Repeat("t", token.MaxField+1), MailID: "m"},
		{Tenant: "a\xff", MailID: "m"},
		{Tenant: "a", MailID: "m", URL: "javascript:alert(1)"},
		{Tenant: "a", MailID: "m", URL: "//evil.test"},
		{Tenant: "a", MailID: "m", URL: "/path"},
		{Tenant: "a", MailID: "m", URL: "https:///path"},
		{Tenant: "a", MailID: "m", URL: "https://x.test/\r\nSet-Cookie: a=b"},
		{Tenant: "a", MailID: "m", URL: "https://x.test/a b"},
		{Tenant: "a", MailID: "m", URL: "https://x.test/" + strings.Repeat("u", token.MaxURL)},
	} {
		if tok := r.Sign(c); tok != "" || c.Validate() == nil {
			t.Errorf("Sign(%+v) = %q, Validate() = %v, want \"\" and an error", c, tok, c.Validate())
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	r := ring(t, 1)
	good := r.Sign(token.Claims{Tenant: "acme", MailID: mailID, Link: "pay", URL: "https://pay.test/"})
	bad := []string{"", "x", "\x00", good + "A", good + "\n", good[:10] + "\n" + good[10:], good[1:], good + "=", strings.Repeat("A", 1<<20), ring(t, 2).Sign(token.Claims{Tenant: "acme", MailID: mailID})}
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatalf("decoding: %v", err)
	}
	for i := range raw { // any single bit
		for bit := range 8 {
			forged := bytes.Clone(raw)
			forged[i] ^= 1 << bit
			bad = append(bad, base64.RawURLEncoding.EncodeToString(forged))
		}
	}
	for _, tok := range bad {
		if c, err := r.Verify(tok); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("Verify(%.40q) = %+v, %v, want ErrInvalid", tok, c, err)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	c := token.Claims{Tenant: "acme", MailID: mailID}
	old, both, after := ring(t, 1), ring(t, 2, 1), ring(t, 2)
	first, second := old.Sign(c), both.Sign(c)
	for _, tt := range []struct {
		name string
		ring *token.Ring
		tok  string
		ok   bool
	}{
		{"old by both", both, first, true},
		{"new by both", both, second, true},
		{"new by the new", after, second, true},
		{"old by the new", after, first, false},
		{"new by the old", old, second, false},
	} {
		if _, err := tt.ring.Verify(tt.tok); (err == nil) != tt.ok {
			t.Errorf("%s: Verify = %v, want success: %v", tt.name, err, tt.ok)
		}
	}
}

func TestNewRingRefuses(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]token.Key{
		"none":  nil,
		"short": {{ID: 1, Secret: make([]byte, 31)}},
		"twice": {key(1), key(1)},
	} {
		if _, err := token.NewRing(keys...); err == nil {
			t.Errorf("%s: NewRing = nil, want an error", name)
		}
	}
	if got := fmt.Sprintf("%v %+v %#v", key(9), key(9), key(9)); got != "key 9 key 9 key 9" {
		t.Errorf("a key prints as %q", got)
	}
}

func TestLoadOrCreateConcurrent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "tokens")
	toks := make([]string, 8)
	var wg sync.WaitGroup
	for i := range toks {
		wg.Go(func() {
			r, err := token.LoadOrCreate(path)
			if err != nil {
				t.Errorf("LoadOrCreate: %v", err)
				return
			}
			toks[i] = r.Sign(token.Claims{Tenant: "a", MailID: "m"})
		})
	}
	wg.Wait()
	for _, tok := range toks {
		if tok != toks[0] || tok == "" {
			t.Fatalf("racing rings sign %q", toks)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatalf("Stat: %v", err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode = %o, want 600", got)
	}
}

func TestLoadRing(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("ab", 32)
	tests := []struct{ name, text, wantErr string }{
		{"good", "# keys\n\n 7:" + secret + "\n1:" + secret + "\n", ""},
		{"empty", "", "no key"},
		{"no colon", secret, ":1 is not id:hex"},
		{"big id", "\n256:" + secret, ":2 is not id:hex"},
		{"not hex", "1:zz", "not id:hex"},
		{"short", "1:abcd", "shorter"},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatalf("writing: %v", err)
		}
		_, err := token.LoadRing(path)
		if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: LoadRing = %v, want %q", tt.name, err, tt.wantErr)
		}
		if err != nil && strings.Contains(err.Error(), "abab") {
			t.Errorf("%s: the error %q tells the secret", tt.name, err)
		}
	}
	if _, err := token.LoadOrCreate("/dev/null/tokens"); err == nil {
		t.Error("LoadOrCreate below a file = nil, want an error")
	}
}

func FuzzVerify(f *testing.F) {
	r := ring(f, 1)
	f.Add(r.Sign(token.Claims{Tenant: "acme", MailID: mailID, Link: "pay", URL: "https://pay.test/"}))
	f.Add("")
	f.Add(strings.Repeat("A", 100))
	f.Fuzz(func(t *testing.T, tok string) {
		c, err := r.Verify(tok)
		if err != nil {
			return
		}
		if again := r.Sign(c); again != tok {
			t.Errorf("Verify(%q) = %+v, which signs as %q", tok, c, again)
		}
	})
}
