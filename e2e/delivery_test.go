package e2e_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/protobuf/types/known/durationpb"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// TestDelivery sends mail to servers that take it, refuse it, lie, or are not
// there, all through one mesh.
func TestDelivery(t *testing.T) {
	t.Parallel()
	m := harness.Start(t, harness.Options{})
	for name, scenario := range map[string]func(t *testing.T, m *harness.Mesh){
		"each kind delivered":                     eachKind,
		"primary MX down, backup takes it":        backupTakesIt,
		"equal MX shared":                         equalShared,
		"450 then success":                        busy,
		"550 bounced":                             bounced,
		"null MX":                                 nullMX,
		"SERVFAIL deferred":                       servfail,
		"OTP expired before a dead MX answers":    deadMX,
		"250 then connection dropped":             droppedAfterReply,
		"connection dropped instead of the reply": droppedInDoubt,
		"STARTTLS":                                startTLS,
		"internationalised address":               internationalised,
		"scheduled and cancelled":                 scheduledCancelled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario(t, m)
		})
	}
}

func wait(t *testing.T, h *mxsim.Host, mails int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.WaitMails(ctx, mails); err != nil {
		t.Fatalf("%s took %d mails, want %d", h.Name(), h.Stats().Mails, mails)
	}
}

func eachKind(t *testing.T, m *harness.Mesh) {
	mx := m.Host(t, "mx.kinds.example", mxsim.HostConfig{})
	m.DNS.MX("kinds.example", "mx.kinds.example")
	receipts := map[string]*mailv1.Receipt{
		"otp":      m.OTP(t, "a@kinds.example"),
		"billing":  m.Bill(t, "b@kinds.example", "INV-kinds-1"),
		"reminder": m.Reminder(t, "c@kinds.example", "INV-kinds-2"),
		"bulk":     m.Bulk(t, "d@kinds.example"),
	}
	for lane, receipt := range receipts {
		if receipt.GetLane() != lane {
			t.Errorf("mail took lane %q, want %q", receipt.GetLane(), lane)
		}
		ev := m.Final(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
		if got := ev.GetAttemptDetail(); got.GetCode() != 250 || got.GetHost() != "mx.kinds.example" {
			t.Errorf("%s mail was delivered with %v, want 250 of mx.kinds.example", lane, got)
		}
	}
	for _, r := range mx.Messages() {
		if r.BareCR+r.BareLF+r.LongLines != 0 {
			t.Errorf("mail to %s breaks RFC 5321 §2.3.8: %d bare CR, %d bare LF, %d long lines", r.To, r.BareCR, r.BareLF, r.LongLines)
		}
		tracked := bytes.Contains(r.Data, []byte("/o/")) || bytes.Contains(r.Data, []byte("/c/"))
		if otp := strings.HasPrefix(r.To, "a@"); otp && tracked {
			t.Errorf("the OTP mail is tracked")
		}
	}
}

func backupTakesIt(t *testing.T, m *harness.Mesh) {
	backup := m.Host(t, "mx2.backup.example", mxsim.HostConfig{})
	m.DNS.Host("mx1.backup.example", strings.Split(m.Address(), ":")[0]) // nobody listens there
	m.DNS.MX("backup.example", "mx1.backup.example", "mx2.backup.example")
	receipt := m.Bill(t, "a@backup.example", "INV-backup")
	ev := m.Final(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
	if ev.GetAttemptDetail().GetHost() != "mx2.backup.example" || backup.Stats().Mails != 1 {
		t.Errorf("delivered by %q with %d mails at the backup, want one at mx2", ev.GetAttemptDetail().GetHost(), backup.Stats().Mails)
	}
}

func equalShared(t *testing.T, m *harness.Mesh) {
	// Both are slow enough that one connection cannot carry all.
	slow := mxsim.HostConfig{Script: mxsim.Tarpit(20 * time.Millisecond)}
	one := m.Host(t, "mx1.equal.example", slow)
	two := m.Host(t, "mx2.equal.example", slow)
	m.DNS.MXAt("equal.example", 10, "mx1.equal.example", "mx2.equal.example")
	const mails = 60
	ids := make([]string, mails)
	for i := range ids {
		ids[i] = m.Bulk(t, "a@equal.example").GetMailId()
	}
	for _, id := range ids {
		m.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
	}
	if a, b := one.Stats().Mails, two.Stats().Mails; a == 0 || b == 0 || a+b != mails {
		t.Errorf("equal hosts took %d and %d mails, want both some and %d together", a, b, mails)
	}
}

func busy(t *testing.T, m *harness.Mesh) {
	mx := m.Host(t, "mx.busy.example", mxsim.HostConfig{
		Script: mxsim.Times(2, mxsim.To("*@busy.example", mxsim.Reply{Code: 450, Text: "4.2.1 mailbox busy"})),
	})
	m.DNS.MX("busy.example", "mx.busy.example")
	bill := m.Bill(t, "a@busy.example", "INV-busy")
	m.Event(t, bill.GetMailId(), eventsv1.EventType_EVENT_TYPE_DEFERRED)
	otp := m.OTP(t, "b@busy.example")
	m.Event(t, otp.GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
	m.Final(t, bill.GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
	if got := mx.Stats(); got.Mails != 2 || got.Refused < 2 {
		t.Errorf("the busy host took %d and refused %d, want 2 and at least 2", got.Mails, got.Refused)
	}
}

func bounced(t *testing.T, m *harness.Mesh) {
	m.Host(t, "mx.bounce.example", mxsim.HostConfig{
		Script: mxsim.To("*@bounce.example", mxsim.Reply{Code: 550, Text: "5.1.1 <a@bounce.example>: no such user"}),
	})
	m.DNS.MX("bounce.example", "mx.bounce.example")
	receipt := m.Bill(t, "a@bounce.example", "INV-bounce")
	got := m.Final(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_BOUNCED).GetAttemptDetail()
	if got.GetCode() != 550 || got.GetEnhancedCode() != "5.1.1" || !got.GetHard() ||
		got.GetCategory() != eventsv1.Category_CATEGORY_INVALID_RECIPIENT || got.GetParty() != eventsv1.Party_PARTY_RECIPIENT {
		t.Errorf("bounce is %v, want 550 5.1.1, hard, INVALID_RECIPIENT of the recipient", got)
	}
	if strings.Contains(got.GetText(), "a@bounce.example") {
		t.Errorf("the event's reply text %q holds the address", got.GetText())
	}
}

func nullMX(t *testing.T, m *harness.Mesh) {
	m.DNS.NullMX("null.example")
	receipt := m.OTP(t, "a@null.example")
	got := m.Final(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_BOUNCED).GetAttemptDetail()
	if got.GetEnhancedCode() != "5.1.10" {
		t.Errorf("a null MX gives %q, want 5.1.10 (RFC 7505)", got.GetEnhancedCode())
	}
}

func servfail(t *testing.T, m *harness.Mesh) {
	mx := m.Host(t, "mx.servfail.example", mxsim.HostConfig{})
	m.DNS.MX("servfail.example", "mx.servfail.example")
	m.DNS.Fail("servfail.example", dns.RcodeServerFailure)
	receipt := m.Bill(t, "a@servfail.example", "INV-servfail")
	m.Event(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_DEFERRED)
	m.DNS.Fail("servfail.example", dns.RcodeSuccess)
	m.Final(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
	wait(t, mx, 1)
}

func deadMX(t *testing.T, m *harness.Mesh) {
	held := make(chan struct{})
	var once sync.Once
	mx := m.Host(t, "mx.dead.example", mxsim.HostConfig{Script: func(e mxsim.Event) mxsim.Reply {
		if e.Stage == mxsim.Greeting {
			<-held
		}
		return mxsim.Reply{}
	}})
	t.Cleanup(func() { once.Do(func() { close(held) }) })
	m.DNS.MX("dead.example", "mx.dead.example")
	receipt := m.OTP(t, "a@dead.example", func(r *mailv1.SendOtpRequest) {
		r.Options.ExpiresIn = durationpb.New(2 * time.Second)
	})
	ev := m.Final(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_EXPIRED)
	if at := ev.GetOccurredAt().AsTime(); at.Before(receipt.GetExpiresAt().AsTime()) {
		t.Errorf("expired at %v, before its time %v", at, receipt.GetExpiresAt().AsTime())
	}
	once.Do(func() { close(held) })
	if got := mx.Stats().Mails; got != 0 {
		t.Errorf("the dead host took %d mails, want none", got)
	}
}

func droppedAfterReply(t *testing.T, m *harness.Mesh) {
	mx := m.Host(t, "mx.drop.example", mxsim.HostConfig{Script: mxsim.At(mxsim.Dot, mxsim.Reply{Close: true})})
	m.DNS.MX("drop.example", "mx.drop.example")
	var ids []string
	for range 10 {
		ids = append(ids, m.OTP(t, "a@drop.example").GetMailId())
	}
	for _, id := range ids {
		m.Final(t, id, eventsv1.EventType_EVENT_TYPE_DELIVERED)
	}
	if got := mx.Stats().Mails; got != len(ids) {
		t.Errorf("the host took %d mails, want %d, each once", got, len(ids))
	}
}

func droppedInDoubt(t *testing.T, m *harness.Mesh) {
	mx := m.Host(t, "mx.doubt.example", mxsim.HostConfig{Script: mxsim.DropAfterDot(1)})
	m.DNS.MX("doubt.example", "mx.doubt.example")
	receipt := m.OTP(t, "a@doubt.example")
	ev := m.Final(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
	if !ev.GetAttemptDetail().GetPossibleDuplicate() {
		t.Errorf("the delivery after a lost reply is not marked as a possible duplicate: %v", ev.GetAttemptDetail())
	}
	messages := mx.Messages()
	if len(messages) != 2 {
		t.Fatalf("the host took %d mails, want the one in doubt and its repeat", len(messages))
	}
	if a, b := header(t, messages[0].Data, "Message-Id"), header(t, messages[1].Data, "Message-Id"); a != b || a == "" {
		t.Errorf("Message-ID of the repeat is %q, want the same as %q", b, a)
	}
}

func startTLS(t *testing.T, m *harness.Mesh) {
	mx := m.Host(t, "mx.tls.example", mxsim.HostConfig{StartTLS: true})
	m.DNS.MX("tls.example", "mx.tls.example")
	receipt := m.OTP(t, "a@tls.example")
	ev := m.Final(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
	if !strings.HasPrefix(ev.GetAttemptDetail().GetTls(), "TLS") || !mx.Messages()[0].TLS {
		t.Errorf("delivered with TLS %q, want a version and cipher", ev.GetAttemptDetail().GetTls())
	}
}

func internationalised(t *testing.T, m *harness.Mesh) {
	mx := m.Host(t, "mx.idn.example", mxsim.HostConfig{})
	m.DNS.MX("xn--ksten-kva.example", "mx.idn.example")
	receipt := m.Bulk(t, "jošt@küsten.example")
	m.Final(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_DELIVERED)
	if got := mx.Messages()[0]; !strings.Contains(strings.Join(got.Params, " "), "SMTPUTF8") {
		t.Errorf("MAIL parameters are %v, want SMTPUTF8 among them (RFC 6531)", got.Params)
	}
}

func scheduledCancelled(t *testing.T, m *harness.Mesh) {
	receipt := m.Reminder(t, "a@later.example", "INV-later", later)
	if receipt.GetState() != mailv1.State_STATE_SCHEDULED {
		t.Fatalf("state is %v, want SCHEDULED", receipt.GetState())
	}
	cancel(t, m, "INV-later")
	m.Final(t, receipt.GetMailId(), eventsv1.EventType_EVENT_TYPE_CANCELLED)
	res, err := m.Tracker.GetMail(t.Context(), &trackerv1.GetMailRequest{MailId: receipt.GetMailId()})
	if err != nil || res.GetMail().GetState() != mailv1.State_STATE_CANCELLED {
		t.Errorf("GetMail = %v, %v, want it cancelled", res.GetMail(), err)
	}
}
