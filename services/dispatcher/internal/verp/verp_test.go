package verp_test

import (
	"testing"

	"kurir.dev/services/dispatcher/internal/verp"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	got, err := verp.Encode("01966d3e-7b6b-7d2a-9d6b-0d0d0d0d0d0d", "bounce.example.com")
	if want := "b+01966d3e-7b6b-7d2a-9d6b-0d0d0d0d0d0d@bounce.example.com"; err != nil || got != want {
		t.Errorf("Encode = %q, %v, want %q", got, err, want)
	}
	for _, tt := range []struct{ id, domain string }{
		{"", "example.com"},
		{"a b", "example.com"},
		{"a\r\nb", "example.com"},
		{"a@b", "example.com"},
		{".a", "example.com"},
		{"a..b", "example.com"},
		{"a", ""},
		{"a", "exam ple"},
		{"a", "x\r\n"},
	} {
		if got, err := verp.Encode(tt.id, tt.domain); err == nil {
			t.Errorf("Encode(%q, %q) = %q, want an error", tt.id, tt.domain, got)
		}
	}
}

func TestDecodeForeign(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "b+@example.com", "b+x", "ana@example.com", "@", "b+x@", "c+x@example.com"} {
		if id, ok := verp.Decode(path); ok {
			t.Errorf("Decode(%q) = %q, want none", path, id)
		}
	}
	if id, ok := verp.Decode("B+x@example.com"); !ok || id != "x" {
		t.Errorf("Decode of an upper-case prefix = %q, %v, want x", id, ok)
	}
}

func FuzzVERP(f *testing.F) {
	f.Add("01966d3e-7b6b-7d2a-9d6b-0d0d0d0d0d0d", "bounce.example.com")
	f.Add("a.b_c", "x")
	f.Fuzz(func(t *testing.T, id, domain string) {
		path, err := verp.Encode(id, domain)
		if err != nil {
			return
		}
		if got, ok := verp.Decode(path); !ok || got != id {
			t.Errorf("Decode(Encode(%q, %q)) = %q, %v", id, domain, got, ok)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("b+x@example.com")
	f.Add("b+@")
	f.Fuzz(func(t *testing.T, path string) {
		id, ok := verp.Decode(path)
		if !ok {
			return
		}
		if _, err := verp.Encode(id, "example.com"); err != nil {
			t.Errorf("Decode(%q) = %q, which cannot be encoded: %v", path, id, err)
		}
	})
}
