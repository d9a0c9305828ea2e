package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/miekg/dns"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

// TestSignatures verifies what a receiver got with the records that the
// dispatcher wrote down for publishing: an RSA and an Ed25519 signature each.
func TestSignatures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := harness.Start(t, harness.Options{DKIM: dir})
	mx := m.Host(t, "mx.signed.example", mxsim.HostConfig{})
	m.DNS.MX("signed.example", "mx.signed.example")
	for _, id := range []string{
		m.OTP(t, "a@signed.example").GetMailId(), m.Bill(t, "b@signed.example", "INV-signed-1").GetMailId(),
		m.Reminder(t, "c@signed.example", "INV-signed-2").GetMailId(), m.Bulk(t, "d@signed.example").GetMailId(),
	} {
		ev := m.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
		if got := ev.GetAttemptDetail().GetDkimSelectors(); len(got) != 2 {
			t.Errorf("the event names the selectors %q, want two", got)
		}
	}
	zone := published(t, dir)
	for _, r := range mx.Messages() {
		found, err := dkim.VerifyWithOptions(bytes.NewReader(r.Data), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
			text, ok := zone[dns.Fqdn(name)]
			if !ok {
				return nil, fmt.Errorf("no record of %s", name)
			}
			return []string{text}, nil
		}})
		if err != nil || len(found) != 2 {
			t.Fatalf("Verify(mail to %s) = %d signatures, %v, want 2", r.To, len(found), err)
		}
		for _, v := range found {
			if v.Err != nil || v.Domain != "kurir.example" {
				t.Errorf("a signature of %s on the mail to %s: %v", v.Domain, r.To, v.Err)
			}
		}
	}
}

// published reads the TXT records beside the keys, as a zone would hold them.
func published(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) != 2 {
		t.Fatalf("the directory of keys holds %d records, %v, want 2", len(files), err)
	}
	zone := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rr, err := dns.NewRR(string(text))
		if err != nil {
			t.Fatalf("%s holds no record of a zone: %v", file, err)
		}
		txt, ok := rr.(*dns.TXT)
		if !ok {
			t.Fatalf("%s holds %v, want a TXT record", file, rr)
		}
		zone[txt.Hdr.Name] = strings.Join(txt.Txt, "")
	}
	return zone
}
