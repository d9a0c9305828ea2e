package dispatcher_test

import (
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/lane"
	"kurir.dev/kit/mxsim"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

const (
	delivered  = eventsv1.EventType_EVENT_TYPE_DELIVERED
	deferred   = eventsv1.EventType_EVENT_TYPE_DEFERRED
	bounced    = eventsv1.EventType_EVENT_TYPE_BOUNCED
	expired    = eventsv1.EventType_EVENT_TYPE_EXPIRED
	attempted  = eventsv1.EventType_EVENT_TYPE_ATTEMPTED
	held       = eventsv1.EventType_EVENT_TYPE_HELD
	committing = eventsv1.EventType_EVENT_TYPE_COMMITTING
)

func TestDelivered(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{StartTLS: true})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.OTP)
	e := y.send(lane.OTP, "ana@example.org")
	ev := next()
	got := want(t, ev, e, delivered)
	if got.GetHost() != "mx.example.org" || got.GetSite() != "mx.example.org" || got.GetRoute() != "mx" || got.GetCode() != 250 ||
		!strings.HasPrefix(got.GetTls(), "TLS1.3") || got.GetRemoteIp() != "127.0.7.1" || got.GetStage() != eventsv1.Stage_STAGE_DOT || ev.GetSequence() != 1 {
		t.Errorf("attempt %v", got)
	}
	mails := mx.Messages()
	if len(mails) != 1 || mails[0].From != "b+"+e.GetMailId()+"@bounce.example.com" || mails[0].To != "ana@example.org" || mails[0].Hello != "out.example.com" {
		t.Errorf("received %+v", mails)
	}
	y.settled(lane.OTP, 1)
}

func TestTemporaryFailureGoesToTheWaitingRoom(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.Times(1, mxsim.At(mxsim.Rcpt, mxsim.Reply{Code: 450, Text: "4.2.0 Greylisted, try again in 90 seconds"}))})
	y.dns.MX("example.org", "mx.example.org")
	next, wait := y.outcomes(lane.Billing), y.deferrals(lane.Billing)
	e := y.send(lane.Billing, "ana@example.org")
	got := want(t, next(), e, deferred)
	if got.GetCategory() != eventsv1.Category_CATEGORY_GREYLISTED || got.GetCode() != 450 || got.GetHard() {
		t.Errorf("attempt %v, want greylisted", got)
	}
	d := wait()
	in := time.Until(d.GetDueAt().AsTime())
	if in < 60*time.Second || in > 91*time.Second || d.GetEnvelope().GetAttempt() != 2 || d.GetEnvelope().GetTries() != 1 || d.GetHeld() || d.GetReason() == "" {
		t.Errorf("deferral %v due in %v, want attempt 2 as the server asked", d, in)
	}
	y.settled(lane.Billing, 1)
	again := y.submit(d.GetEnvelope())
	if ev := next(); ev.GetType() == committing {
		want(t, next(), again, delivered)
	}
	if mx.Stats().Mails != 1 {
		t.Errorf("%d mails, want 1", mx.Stats().Mails)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	y := setup(t)
	y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.First(
		mxsim.To("none@*", mxsim.Reply{Code: 550, Text: "5.1.1 <none@example.org>: user unknown"}),
		mxsim.To("full@*", mxsim.Reply{Code: 552, Text: "5.2.2 mailbox full"}),
	)})
	y.dns.MX("example.org", "mx.example.org")
	y.dns.MX("loop.example", "out.example.com")
	y.dns.NullMX("null.example")
	y.dns.Host("host.null.example", "127.0.7.9")
	y.dns.Fail("fail.example", mdns.RcodeServerFailure)
	tests := []struct {
		to       string
		event    eventsv1.EventType
		category eventsv1.Category
		code     uint32
		enhanced string
		party    eventsv1.Party
	}{
		{"none@example.org", bounced, eventsv1.Category_CATEGORY_INVALID_RECIPIENT, 550, "5.1.1", eventsv1.Party_PARTY_RECIPIENT},
		{"full@example.org", deferred, eventsv1.Category_CATEGORY_MAILBOX_FULL, 552, "5.2.2", eventsv1.Party_PARTY_RECIPIENT},
		{"a@null.example", bounced, eventsv1.Category_CATEGORY_DNS, 0, "5.1.10", eventsv1.Party_PARTY_RECIPIENT},
		{"a@gone.example", bounced, eventsv1.Category_CATEGORY_DNS, 0, "5.1.2", eventsv1.Party_PARTY_RECIPIENT},
		{"a@loop.example", bounced, eventsv1.Category_CATEGORY_DNS, 0, "5.4.6", eventsv1.Party_PARTY_RECEIVER},
		{"a@fail.example", deferred, eventsv1.Category_CATEGORY_DNS, 0, "4.4.3", eventsv1.Party_PARTY_RECEIVER},
	}
	next := y.outcomes(lane.Bulk)
	for _, tt := range tests {
		e := y.send(lane.Bulk, tt.to)
		got := want(t, next(), e, tt.event)
		if got.GetCategory() != tt.category || got.GetCode() != tt.code || got.GetEnhancedCode() != tt.enhanced || got.GetParty() != tt.party {
			t.Errorf("to %s: %v, want %v %d %s %v", tt.to, got, tt.category, tt.code, tt.enhanced, tt.party)
		}
		if strings.Contains(got.GetText(), "@") {
			t.Errorf("to %s: text %q holds an address", tt.to, got.GetText())
		}
	}
	y.settled(lane.Bulk, int64(len(tests)))
}

func TestBackupTakesOver(t *testing.T) {
	t.Parallel()
	y := setup(t)
	busy := y.host("busy.example.org", mxsim.HostConfig{Script: mxsim.At(mxsim.Greeting, mxsim.Reply{Code: 421, Text: "busy", Close: true})})
	backup := y.host("backup.example.org", mxsim.HostConfig{})
	y.dns.Host("dead.example.org", "127.0.7.200") // nobody listens
	y.dns.MX("example.org", "dead.example.org", "busy.example.org", "backup.example.org")
	for _, name := range []string{lane.OTP, lane.Bulk} {
		next := y.outcomes(name)
		e := y.send(name, "ana@example.org")
		if got := want(t, next(), e, delivered); got.GetHost() != "backup.example.org" || got.GetSite() != "(backup|busy|dead).example.org" {
			t.Errorf("lane %s: %v, want the backup", name, got)
		}
	}
	if busy.Stats().Connections == 0 || backup.Stats().Mails != 2 {
		t.Errorf("busy %+v, backup %+v", busy.Stats(), backup.Stats())
	}
}

func TestHopelessBackupIsNoBounce(t *testing.T) {
	t.Parallel()
	y := setup(t)
	y.host("ascii.example.org", mxsim.HostConfig{Extensions: []string{"PIPELINING"}})
	y.host("busy.example.org", mxsim.HostConfig{Script: mxsim.At(mxsim.Greeting, mxsim.Reply{Code: 421, Text: "busy", Close: true})})
	y.dns.Host("dead.example.org", "127.0.7.200") // nobody listens
	y.dns.MX("down.example", "dead.example.org", "nowhere.example.org")
	y.dns.MX("mixed.example", "busy.example.org", "ascii.example.org")
	next := y.outcomes(lane.Bulk)
	for to, utf8 := range map[string]bool{"ana@down.example": false, "ana@mixed.example": true} {
		e := y.envelope(lane.Bulk, to)
		e.Smtputf8 = utf8
		y.submit(e)
		if got := want(t, next(), e, deferred); got.GetHard() {
			t.Errorf("%s: %v, want a later try: the first host may yet take it", to, got)
		}
	}
}

func TestEqualHostsShare(t *testing.T) {
	t.Parallel()
	y := build(t)
	y.cfg.SMTP.MailsPerConnection = 1
	y.start()
	a, b := y.host("a.example.org", mxsim.HostConfig{}), y.host("b.example.org", mxsim.HostConfig{})
	y.dns.MXAt("example.org", 10, "a.example.org", "b.example.org")
	next := y.outcomes(lane.Bulk)
	const n = 40
	for range n {
		y.send(lane.Bulk, "ana@example.org")
	}
	for range n {
		if ev := next(); ev.GetType() != delivered {
			t.Fatalf("event %v", ev)
		}
	}
	if a.Stats().Mails < 5 || b.Stats().Mails < 5 || a.Stats().Mails+b.Stats().Mails != n {
		t.Errorf("a took %d, b took %d, want about half each", a.Stats().Mails, b.Stats().Mails)
	}
}

func TestCodeExpiresBeforeADeadHostAnswers(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.At(mxsim.Mail, mxsim.Reply{Delay: time.Minute})})
	mute := y.host("mute.example.org", mxsim.HostConfig{Script: mxsim.At(mxsim.Greeting, mxsim.Reply{Delay: time.Minute})})
	y.dns.MX("example.org", "mx.example.org")
	y.dns.MX("mute.example", "mute.example.org")
	y.dns.Hang("hang.example", true)
	next := y.outcomes(lane.OTP)
	for _, to := range []string{"ana@example.org", "ana@mute.example", "ana@hang.example"} {
		e := y.envelope(lane.OTP, to)
		e.ExpiresAt = timestamppb.New(time.Now().Add(500 * time.Millisecond))
		y.submit(e)
		got := want(t, next(), e, expired)
		if got.GetCategory() != eventsv1.Category_CATEGORY_EXPIRED || got.GetElapsed().AsDuration() > 20*time.Second {
			t.Errorf("to %s: %v, want expired in time", to, got)
		}
	}
	if mx.Stats().Mails+mute.Stats().Mails != 0 || mx.Stats().Bytes != 0 {
		t.Errorf("bytes went out: %+v %+v", mx.Stats(), mute.Stats())
	}
	late := y.envelope(lane.OTP, "ana@example.org")
	late.ExpiresAt = timestamppb.New(time.Now().Add(-time.Second))
	connections := mx.Stats().Connections
	y.submit(late)
	want(t, next(), late, expired)
	if mx.Stats().Connections != connections {
		t.Error("a connection was made for a mail whose time was over")
	}
}

func TestCodeIsTriedAgainInside(t *testing.T) {
	t.Parallel()
	y := build(t)
	y.cfg.LaneTable[0].Ladder = []time.Duration{100 * time.Millisecond}
	y.start()
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.Times(2, mxsim.At(mxsim.Rcpt, mxsim.Reply{Code: 451, Text: "4.3.0 not now"}))})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.OTP)
	e := y.send(lane.OTP, "ana@example.org")
	for sequence := range uint32(2) {
		ev := next()
		if got := want(t, ev, e, attempted); got.GetNextAt() == nil || ev.GetSequence() != sequence+1 {
			t.Errorf("event %v, want try %d with the next one's time", ev, sequence+1)
		}
	}
	want(t, next(), e, delivered)
	if mx.Stats().Mails != 1 {
		t.Errorf("%d mails, want 1", mx.Stats().Mails)
	}
}

func TestConnectionDroppedAfterTheReply(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.At(mxsim.Dot, mxsim.Reply{Code: 250, Text: "2.0.0 taken", Close: true})})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.Billing)
	for range 3 {
		e := y.send(lane.Billing, "ana@example.org")
		want(t, next(), e, committing)
		want(t, next(), e, delivered)
	}
	if mx.Stats().Mails != 3 || mx.Stats().Connections != 3 {
		t.Errorf("%+v, want each mail once over its own connection", mx.Stats())
	}
}

func TestInDoubt(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.DropAfterDot(1)})
	y.dns.MX("example.org", "mx.example.org")
	codes, bills, wait := y.outcomes(lane.OTP), y.outcomes(lane.Billing), y.deferrals(lane.Billing)
	code := y.send(lane.OTP, "ana@example.org")
	want(t, codes(), code, attempted)
	if got := want(t, codes(), code, delivered); !got.GetPossibleDuplicate() {
		t.Errorf("%v, want a possible duplicate", got)
	}
	mx.SetScript(mxsim.DropAfterDot(1))
	bill := y.send(lane.Billing, "ana@example.org")
	want(t, bills(), bill, committing)
	want(t, bills(), bill, held)
	if d := wait(); !d.GetHeld() || d.GetEnvelope().GetAttempt() != 2 {
		t.Errorf("deferral %v, want held", d)
	}
}

func TestDuplicateRecordIsSentOnce(t *testing.T) {
	t.Parallel()
	y := setup(t)
	mx := y.host("mx.example.org", mxsim.HostConfig{Script: mxsim.Tarpit(20 * time.Millisecond)})
	y.dns.MX("example.org", "mx.example.org")
	next := y.outcomes(lane.OTP)
	e := y.send(lane.OTP, "ana@example.org")
	y.submit(e)
	want(t, next(), e, delivered)
	y.submit(e)
	last := y.send(lane.OTP, "ana@example.org")
	want(t, next(), last, delivered)
	y.settled(lane.OTP, 4)
	if mx.Stats().Mails != 2 {
		t.Errorf("%d mails, want 2", mx.Stats().Mails)
	}
}
