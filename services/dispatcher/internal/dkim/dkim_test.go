package dkim_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"
	mdns "github.com/miekg/dns"

	"kurir.dev/services/dispatcher/internal/dkim"
)

const message = "From: Kurir <no-reply@example.com>\r\nTo: ana@example.org\r\nSubject: =?utf-8?q?Kode?=\r\n" +
	"Date: Mon, 02 Jan 2006 15:04:05 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nYour code is 123456.\r\n"

func config(t *testing.T) dkim.Config {
	t.Helper()
	return dkim.Config{Dir: filepath.Join(t.TempDir(), "keys"), Generate: true, Domains: []dkim.Domain{
		{Domain: "Example.com", SelectorRSA: "r1", SelectorEd25519: "e1"},
	}}
}

// verify checks all signatures with the published records as DNS.
func verify(t *testing.T, records []string, signed []byte) []error {
	t.Helper()
	txt := map[string]string{}
	for _, r := range records {
		rr, err := mdns.NewRR(r)
		if err != nil {
			t.Fatalf("record %q: %v", r, err)
		}
		record, ok := rr.(*mdns.TXT)
		if !ok {
			t.Fatalf("record %q is no TXT", r)
		}
		txt[strings.TrimSuffix(record.Hdr.Name, ".")] = strings.Join(record.Txt, "")
	}
	got, err := msgauth.VerifyWithOptions(bytes.NewReader(signed), &msgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return []string{txt[name]}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	for _, v := range got {
		errs = append(errs, v.Err)
	}
	return errs
}

func TestSign(t *testing.T) {
	t.Parallel()
	s, err := dkim.New(config(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	records := s.Records()
	if len(records) != 2 {
		t.Fatalf("Records = %q, want two", records)
	}
	for _, from := range []string{"example.com", "EXAMPLE.com", "mail.example.com"} {
		signed, err := s.Sign(t.Context(), from, []byte(message), "otp", "t")
		if err != nil {
			t.Fatal(err)
		}
		if len(signed.Selectors) != 2 || !bytes.HasSuffix(signed.Message, []byte(message)) {
			t.Errorf("Sign(%q) by %v", from, signed.Selectors)
		}
		errs := verify(t, records, signed.Message)
		if len(errs) != 2 || errs[0] != nil || errs[1] != nil {
			t.Errorf("verifying Sign(%q): %v, want two good signatures", from, errs)
		}
		forged := bytes.Replace(signed.Message, []byte("To: ana"), []byte("Subject: added\r\nTo: ana"), 1)
		for _, err := range verify(t, records, forged) {
			if err == nil {
				t.Errorf("a Subject added to Sign(%q) goes unnoticed", from)
			}
		}
	}
	other, err := s.Sign(t.Context(), "other.example", []byte(message), "bulk", "t")
	if err != nil || len(other.Selectors) != 0 || string(other.Message) != message {
		t.Errorf("Sign for a foreign domain = %v, %v, want it untouched", other.Selectors, err)
	}
}

func TestKeysAreKept(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	first, err := dkim.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Generate = false
	second, err := dkim.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := first.Records()
	signed, err := second.Sign(t.Context(), "example.com", []byte(message), "otp", "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range verify(t, a, signed.Message) {
		if err != nil {
			t.Errorf("verifying with the first start's records: %v", err)
		}
	}
	info, err := os.Stat(filepath.Join(cfg.Dir, "example.com.r1.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file %v, %v, want mode 0600", info, err)
	}
	if text, err := os.ReadFile(filepath.Join(cfg.Dir, "example.com.e1.txt")); err != nil || !strings.Contains(string(text), "e1._domainkey.example.com.") {
		t.Errorf("record file %q, %v", text, err)
	}
}

func TestMissingKeys(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Generate = false
	if _, err := dkim.New(cfg, nil); err == nil || !strings.Contains(err.Error(), "r1 of example.com") {
		t.Errorf("New without keys = %v, want an error that names them", err)
	}
	cfg.Domains[0].SelectorRSA = "../r1"
	if _, err := dkim.New(cfg, nil); err == nil {
		t.Error("New with a path as selector succeeded")
	}
}

func BenchmarkSign(b *testing.B) {
	s, err := dkim.New(dkim.Config{Dir: b.TempDir(), Generate: true, Domains: []dkim.Domain{{Domain: "example.com", SelectorRSA: "r", SelectorEd25519: "e"}}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Sign(b.Context(), "example.com", []byte(message), "otp", "t"); err != nil {
			b.Fatal(err)
		}
	}
}
