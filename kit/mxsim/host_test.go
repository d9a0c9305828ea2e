package mxsim_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/mxsim"
)

func newHost(t *testing.T, cfg mxsim.HostConfig) *mxsim.Host {
	t.Helper()
	h, err := mxsim.NewHost(cfg)
	if err != nil {
		t.Fatalf("NewHost: %v", err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return h
}

func dial(t *testing.T, h *mxsim.Host) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(h.Addr())
	if err != nil {
		t.Fatalf("dialling: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// talk plays a dialog: lines to send, and after each the reply wanted.
// "" sends nothing and reads on.
func talk(t *testing.T, h *mxsim.Host, lines ...string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", h.Addr())
	if err != nil {
		if lines[1] == "gone" { // the reset came that early
			return
		}
		t.Fatalf("dialling: %v", err)
	}
	defer func() { _ = conn.Close() }()
	c := textproto.NewConn(conn)
	for i := 0; i+1 < len(lines); i += 2 {
		if lines[i] != "" {
			if _, err := io.WriteString(conn, strings.ReplaceAll(lines[i], "\n", "\r\n")+"\r\n"); err != nil {
				t.Fatalf("sending %q: %v", lines[i], err)
			}
		}
		got, err := c.ReadLine()
		for err == nil && len(got) > 3 && got[3] == '-' {
			got, err = c.ReadLine()
		}
		switch want := lines[i+1]; {
		case want == "gone":
			if err == nil {
				t.Fatalf("after %q: %q, want a lost connection", lines[i], got)
			}
			return
		case err != nil:
			t.Fatalf("after %q: %v, want %q", lines[i], err, want)
		case !strings.HasPrefix(got, want):
			t.Fatalf("after %q: %q, want %q", lines[i], got, want)
		}
	}
}

const message = "Subject: hello\r\n\r\n.leading dot\r\nend\r\n"

func TestHostTakesMail(t *testing.T) {
	t.Parallel()
	var calls []mxsim.Received
	h := newHost(t, mxsim.HostConfig{Name: "mx1.test", Keep: 2, Received: func(r mxsim.Received) { calls = append(calls, r) }})
	c := dial(t, h)
	if err := c.Hello("client.test"); err != nil {
		t.Fatalf("Hello: %v", err)
	}
	for i := range 3 {
		err := c.SendMail("from@a.test", []string{fmt.Sprintf("to%d@b.test", i), "cc@b.test"}, strings.NewReader(message))
		if err != nil {
			t.Fatalf("SendMail: %v", err)
		}
	}
	if err := c.Quit(); err != nil {
		t.Errorf("Quit: %v", err)
	}
	if err := h.WaitMails(t.Context(), 3); err != nil {
		t.Fatalf("WaitMails: %v", err)
	}
	got := h.Messages()
	if len(got) != 2 || len(calls) != 3 {
		t.Fatalf("kept %d, called back %d, want 2 and 3", len(got), len(calls))
	}
	want := mxsim.Received{
		Host: "mx1.test", Hello: "client.test", From: "from@a.test", To: "to2@b.test",
		Rcpts: []string{"to2@b.test", "cc@b.test"}, Params: got[1].Params, Data: []byte(message), At: got[1].At,
	}
	if diff := cmp.Diff(want, got[1]); diff != "" {
		t.Errorf("the last message (-want +got):\n%s", diff)
	}
	s := h.Stats()
	if s.Mails != 3 || s.Recipients != 6 || s.Bytes != int64(3*len(message)) || s.Refused != 0 || s.Peak != 1 {
		t.Errorf("Stats() = %+v", s)
	}
}

func TestHostScripts(t *testing.T) {
	t.Parallel()
	mail := func(rcpt ...string) []string {
		return append([]string{"", "220", "EHLO c.test", "250", "MAIL FROM:<a@a.test>", "250"}, rcpt...)
	}
	tests := []struct {
		name   string
		script mxsim.Script
		dialog []string
		mails  int
	}{
		{"refusing greeting", mxsim.At(mxsim.Greeting, mxsim.Reply{Code: 421, Text: "4.3.2 too busy"}), []string{"", "421 4.3.2 too busy", "", "gone"}, 0},
		{"greeting that stays", mxsim.At(mxsim.Greeting, mxsim.Reply{Code: 554}), []string{"", "554 5.0.0 no", "QUIT", "221", "", "gone"}, 0},
		{"dropped greeting", mxsim.At(mxsim.Greeting, mxsim.Reply{Drop: true}), []string{"", "gone"}, 0},
		{"no EHLO", mxsim.At(mxsim.Hello, mxsim.Reply{Code: 502}), []string{"", "220", "EHLO c", "502"}, 0},
		{"rcpt by pattern", mxsim.First(
			mxsim.To("gone@*", mxsim.Reply{Code: 550, Text: "5.1.1 no such user"}),
			mxsim.To("full-*@b.test", mxsim.Reply{Code: 452, Text: "4.2.2 full"}),
		), mail("RCPT TO:<Gone@b.test>", "550 5.1.1", "RCPT TO:<full-1@b.test>", "452 4.2.2", "RCPT TO:<ok@b.test>", "250", "DATA", "354", "x\n.", "250"), 1},
		{"greylist", mxsim.Greylist(2), mail("RCPT TO:<x@b.test>", "450", "RCPT TO:<x@b.test>", "450", "RCPT TO:<y@b.test>", "450", "RCPT TO:<x@b.test>", "250"), 0},
		{"once", mxsim.Times(1, mxsim.At(mxsim.Mail, mxsim.Reply{Code: 451})), []string{"", "220", "EHLO c", "250", "MAIL FROM:<>", "451", "MAIL FROM:<>", "250"}, 0},
		{"raw nonsense", mxsim.At(mxsim.Rcpt, mxsim.Reply{Code: 250, Raw: "what?\r\n"}), mail("RCPT TO:<x@b.test>", "what?", "DATA", "354"), 0},
		{"many lines", mxsim.At(mxsim.Rcpt, mxsim.Reply{Code: 550, Text: "5.7.1 one\n5.7.1 two"}), mail("RCPT TO:<x@b.test>", "550 5.7.1 two"), 0},
		{"drop after dot", mxsim.DropAfterDot(1), mail("RCPT TO:<x@b.test>", "250", "DATA", "354", "x\n.", "gone"), 1},
		{"lost before taken", mxsim.At(mxsim.Dot, mxsim.Reply{Code: 451, Drop: true}), mail("RCPT TO:<x@b.test>", "250", "DATA", "354", "x\n.", "gone"), 0},
		{"refused dot", mxsim.At(mxsim.Dot, mxsim.Reply{Code: 554, Text: "5.7.1 spam"}), mail("RCPT TO:<x@b.test>", "250", "DATA", "354", "x\n.", "554 5.7.1 spam", "MAIL FROM:<a@a.test>", "250"), 0},
		{"closing midway", mxsim.At(mxsim.Rcpt, mxsim.Reply{Code: 421}), mail("RCPT TO:<x@b.test>", "421", "", "gone"), 0},
		{"tarpit", mxsim.Tarpit(time.Millisecond), mail("RCPT TO:<x@b.test>", "250"), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, mxsim.HostConfig{Script: tt.script})
			talk(t, h, tt.dialog...)
			if got := h.Stats().Mails; got != tt.mails {
				t.Errorf("Mails = %d, want %d", got, tt.mails)
			}
		})
	}
}

func TestHostManners(t *testing.T) {
	t.Parallel()
	h := newHost(t, mxsim.HostConfig{MaxSize: 10, Extensions: []string{}})
	talk(t, h,
		"", "220", "MAIL FROM:<a@a.test>", "503", "RCPT TO:<a@a.test>", "503", "DATA", "503", "LHLO x", "500", "EHLO", "501",
		"BOO", "500", "NOOP", "250", "VRFY x", "252", "AUTH PLAIN", "504", "STARTTLS", "502", "HELO c", "250",
		"MAIL FROM:a@a.test", "501", "MAIL FROM:<a@a.test> SIZE=11", "552", "MAIL FROM:<a@a.test> SIZE=10", "250", "MAIL FROM:<a@a.test>", "503",
		"DATA", "554", "RCPT TO:<>", "501", "RCPT TO:<b@b.test>", "250", "DATA", "354", "0123456789\n.", "552", "RSET", "250", "QUIT", "221", "", "gone")
	// Pipelined, all in one write (RFC 2920).
	talk(t, newHost(t, mxsim.HostConfig{}), "", "220", "EHLO c\nMAIL FROM:<a@a.test>\nRCPT TO:<b@b.test>\nDATA", "250", "", "250", "", "250", "", "354", "hi\n.\nQUIT", "250", "", "221")
}

// plain is a SASL PLAIN client with its one message.
type plain string

func (p plain) Start() (mechanism string, initial []byte, err error) { return "PLAIN", []byte(p), nil }

func (p plain) Next([]byte) ([]byte, error) { return nil, errors.New("PLAIN has one step") }

func TestHostTLSAndLogin(t *testing.T) {
	t.Parallel()
	h := newHost(t, mxsim.HostConfig{
		Name: "mx.secure.test", StartTLS: true, Keep: 1,
		Login: func(user, password string) bool { return user == "joe" && password == "secret" },
	})
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(h.Certificate())
	if err != nil {
		t.Fatalf("Certificate: %v", err)
	}
	pool.AddCert(cert)
	c, err := smtp.DialStartTLS(h.Addr(), &tls.Config{RootCAs: pool, ServerName: "mx.secure.test", MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatalf("DialStartTLS: %v", err)
	}
	defer func() { _ = c.Close() }()
	var refused *smtp.SMTPError
	if err := c.Mail("a@a.test", nil); !errors.As(err, &refused) || refused.Code != 530 {
		t.Errorf("MAIL without login = %v, want 530", err)
	}
	if err := c.Auth(plain("\x00joe\x00wrong")); !errors.As(err, &refused) || refused.Code != 535 {
		t.Errorf("wrong password = %v, want 535", err)
	}
	if err := c.Auth(plain("\x00joe\x00secret")); err != nil {
		t.Fatalf("Auth: %v", err)
	}
	if err := c.SendMail("a@a.test", []string{"b@b.test"}, strings.NewReader(message)); err != nil {
		t.Fatalf("SendMail: %v", err)
	}
	got := h.Messages()
	if len(got) != 1 || !got[0].TLS || got[0].User != "joe" {
		t.Errorf("Messages() = %+v, want one over TLS by joe", got)
	}
	broken := newHost(t, mxsim.HostConfig{StartTLS: true, Script: mxsim.At(mxsim.StartTLS, mxsim.Reply{Code: 220, Close: true})})
	talk(t, broken, "", "220", "EHLO c", "250", "STARTTLS", "220", "", "gone")
}

func TestHostLMTP(t *testing.T) {
	t.Parallel()
	h := newHost(t, mxsim.HostConfig{LMTP: true, Keep: 1, Script: func(e mxsim.Event) mxsim.Reply {
		if e.Stage == mxsim.Dot && e.Arg == "full@b.test" {
			return mxsim.Reply{Code: 452, Text: "4.2.2 full"}
		}
		return mxsim.Reply{}
	}})
	talk(t, h, "", "220", "EHLO c", "500", "LHLO c", "250", "MAIL FROM:<a@a.test>", "250",
		"RCPT TO:<full@b.test>", "250", "RCPT TO:<ok@b.test>", "250", "DATA", "354", "x\n.", "452", "", "250", "QUIT", "221")
	if got := h.Messages(); len(got) != 1 || !cmp.Equal(got[0].Rcpts, []string{"ok@b.test"}) || got[0].To != "ok@b.test" {
		t.Errorf("Messages() = %+v, want one for ok@b.test", got)
	}
}

func TestHostCloseFreesTarpits(t *testing.T) {
	t.Parallel()
	h, err := mxsim.NewHost(mxsim.HostConfig{Script: mxsim.Tarpit(time.Hour)})
	if err != nil {
		t.Fatalf("NewHost: %v", err)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", h.Addr())
	if err != nil {
		t.Fatalf("dialling: %v", err)
	}
	defer func() { _ = conn.Close() }()
	if err := h.Wait(t.Context(), func(s mxsim.Stats) bool { return s.Open == 1 }); err != nil {
		t.Fatalf("Wait: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.WaitMails(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitMails with an ended ctx = %v, want canceled", err)
	}
	if _, err := mxsim.NewHost(mxsim.HostConfig{Listen: "127.0.0.1:-1"}); err == nil {
		t.Error("NewHost on a bad port = nil, want an error")
	}
}

func TestHostConcurrent(t *testing.T) {
	t.Parallel()
	h := newHost(t, mxsim.HostConfig{Keep: 10})
	const conns, mails = 8, 50
	var wg sync.WaitGroup
	for range conns {
		c := dial(t, h)
		wg.Go(func() {
			for range mails {
				if err := c.SendMail("a@a.test", []string{"b@b.test"}, strings.NewReader(message)); err != nil {
					t.Errorf("SendMail: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if s := h.Stats(); s.Mails != conns*mails || s.Peak != conns {
		t.Errorf("Stats() = %+v, want %d mails over %d connections", s, conns*mails, conns)
	}
}

func BenchmarkHost(b *testing.B) {
	h, err := mxsim.NewHost(mxsim.HostConfig{})
	if err != nil {
		b.Fatalf("NewHost: %v", err)
	}
	defer func() { _ = h.Close() }()
	body := "Subject: bench\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 140)
	b.RunParallel(func(pb *testing.PB) {
		c, err := smtp.Dial(h.Addr())
		if err != nil {
			b.Errorf("dialling: %v", err)
			return
		}
		defer func() { _ = c.Close() }()
		for pb.Next() {
			if err := c.SendMail("a@a.test", []string{"b@b.test"}, strings.NewReader(body)); err != nil {
				b.Errorf("SendMail: %v", err)
				return
			}
		}
	})
}
