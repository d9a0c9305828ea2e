package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"kurir.dev/e2e/harness"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

// TestPostfixSink delivers to Postfix's smtp-sink, a receiver that is not ours.
func TestPostfixSink(t *testing.T) {
	t.Parallel()
	sink, err := exec.LookPath("smtp-sink")
	if err != nil {
		sink = "/usr/sbin/smtp-sink"
	}
	if _, err := os.Stat(sink); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("smtp-sink is missing; install the package postfix")
		}
		t.Skip("smtp-sink is not installed (Debian package postfix)")
	}
	m := harness.Start(t, harness.Options{})
	addr := m.Address()
	dir, err := os.MkdirTemp("", "kurir-smtp-sink-") //nolint:usetesting // t.TempDir lets nobody else in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	args := []string{"-d", filepath.Join(dir, "mail."), addr, "100"}
	if os.Geteuid() == 0 { // it drops its privileges
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"-u", "nobody", "-R", "/"}, args...)
	}
	harness.Run(t, sink, addr, args...)
	ip, _, _ := net.SplitHostPort(addr)
	m.DNS.Host("mx.postfix.example", ip)
	m.DNS.MX("postfix.example", "mx.postfix.example")

	for _, id := range []string{
		m.OTP(t, "a@postfix.example").GetMailId(), m.Bill(t, "b@postfix.example", "INV-postfix-1").GetMailId(),
		m.Reminder(t, "c@postfix.example", "INV-postfix-2").GetMailId(), m.Bulk(t, "d@postfix.example").GetMailId(),
	} {
		m.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "mail.*")); len(files) != 4 {
		t.Errorf("smtp-sink wrote %d mails, want 4", len(files))
	}
}
