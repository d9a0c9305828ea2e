package session_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"kurir.dev/kit/mxsim"
	"kurir.dev/services/dispatcher/internal/outcome"
	"kurir.dev/services/dispatcher/internal/session"
)

func host(t *testing.T, cfg mxsim.HostConfig) *mxsim.Host {
	t.Helper()
	cfg.Keep = 100
	h, err := mxsim.NewHost(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func options(mode session.Mode) session.Options {
	return session.Options{Host: "mx.test", EHLO: "out.example.com", TLS: mode, Timeouts: session.Default().Urgent, Now: time.Now}
}

func open(t *testing.T, h *mxsim.Host, opts session.Options) (*session.Session, error) {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", h.Addr())
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Open(t.Context(), conn, opts)
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

func must(t *testing.T, h *mxsim.Host, opts session.Options) *session.Session {
	t.Helper()
	s, err := open(t, h, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mail() session.Mail {
	ok := func() error { return nil }
	return session.Mail{
		From: "b+x@bounce.example.com", To: "ana@example.com", Body: []byte("Subject: hi\r\n\r\n.dot\r\n"),
		Begin: ok, Ready: ok, Commit: ok,
	}
}

func TestSendDelivers(t *testing.T) {
	t.Parallel()
	for name, ext := range map[string][]string{
		"pipelined": {"PIPELINING", "8BITMIME", "SMTPUTF8", "MT-PRIORITY MIXER"},
		"plain":     {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := host(t, mxsim.HostConfig{Extensions: ext, MaxSize: 1 << 20})
			s := must(t, h, options(session.Opportunistic))
			for range 3 {
				m := mail()
				m.Priority = 6
				if r := s.Send(t.Context(), m); !r.Delivered || r.Reply.Code != 250 || r.InDoubt() {
					t.Fatalf("Send = %+v, want delivered", r)
				}
			}
			if !s.Usable(0) || s.Usable(3) {
				t.Error("a session after three mails must be usable, and not beyond a limit of three")
			}
			got := h.Messages()
			if len(got) != 3 || got[0].Hello != "out.example.com" || string(got[0].Data) != "Subject: hi\r\n\r\n.dot\r\n" {
				t.Errorf("received %+v", got)
			}
			params := strings.Join(got[0].Params, " ")
			if !strings.Contains(params, "SIZE=") || (name == "pipelined") != strings.Contains(params, "MT-PRIORITY=6") {
				t.Errorf("MAIL parameters %q", params)
			}
		})
	}
}

func TestSTARTTLS(t *testing.T) {
	t.Parallel()
	h := host(t, mxsim.HostConfig{Name: "mx.test", StartTLS: true})
	s := must(t, h, options(session.Opportunistic))
	if !strings.HasPrefix(s.Info().TLS, "TLS1.3 ") {
		t.Errorf("Info().TLS = %q, want TLS1.3", s.Info().TLS)
	}
	if r := s.Send(t.Context(), mail()); !r.Delivered {
		t.Errorf("Send = %+v", r)
	}
	var failed *session.Error
	if _, err := open(t, h, options(session.Required)); !errors.As(err, &failed) || failed.Failure.Cause != outcome.BrokenTLS {
		t.Errorf("Open with an unknown certificate required = %v, want BrokenTLS", err)
	}
	opts := options(session.Required)
	cert, err := x509.ParseCertificate(h.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	opts.Roots = x509.NewCertPool()
	opts.Roots.AddCert(cert)
	must(t, h, opts)
}

func TestOpenFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		script mxsim.Script
		stage  outcome.Stage
		code   int
		cause  outcome.Cause
	}{
		{"greeting refused", mxsim.At(mxsim.Greeting, mxsim.Reply{Code: 554, Text: "no"}), outcome.StageGreeting, 554, 0},
		{"greeting dropped", mxsim.At(mxsim.Greeting, mxsim.Reply{Raw: "220-half\r\n", Close: true}), outcome.StageGreeting, 0, outcome.Lost},
		{"greeting garbled", mxsim.At(mxsim.Greeting, mxsim.Reply{Raw: "HTTP/1.1 400 Bad\r\n"}), outcome.StageGreeting, 0, outcome.Desync},
		{"hello refused", mxsim.At(mxsim.Hello, mxsim.Reply{Code: 421, Text: "busy"}), outcome.StageEHLO, 421, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t, host(t, mxsim.HostConfig{Script: tt.script}), options(session.Opportunistic))
			var failed *session.Error
			if !errors.As(err, &failed) || failed.Failure.Stage != tt.stage || failed.Failure.Reply.Code != tt.code || failed.Failure.Cause != tt.cause {
				t.Errorf("Open = %v, want %s %d cause %d", err, tt.stage, tt.code, tt.cause)
			}
		})
	}
}

func TestSendFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		script  mxsim.Script
		stage   outcome.Stage
		code    int
		dot     bool
		inDoubt bool
		usable  bool
	}{
		{"MAIL refused", mxsim.At(mxsim.Mail, mxsim.Reply{Code: 451, Text: "4.3.0 later"}), outcome.StageMail, 451, false, false, true},
		{"RCPT refused", mxsim.At(mxsim.Rcpt, mxsim.Reply{Code: 550, Text: "5.1.1 unknown"}), outcome.StageRcpt, 550, false, false, true},
		{"DATA refused", mxsim.At(mxsim.Data, mxsim.Reply{Code: 451, Text: "no"}), outcome.StageData, 451, false, false, true},
		{"dot refused", mxsim.At(mxsim.Dot, mxsim.Reply{Code: 554, Text: "5.7.1 spam"}), outcome.StageDot, 554, true, false, true},
		{"421 at RCPT", mxsim.At(mxsim.Rcpt, mxsim.Reply{Code: 421, Text: "bye", Close: true}), outcome.StageRcpt, 421, false, false, false},
		{"dropped at DATA", mxsim.At(mxsim.Data, mxsim.Reply{Drop: true}), outcome.StageData, 0, false, false, false},
		{"dropped after the dot", mxsim.At(mxsim.Dot, mxsim.Reply{Drop: true}), outcome.StageDot, 0, true, true, false},
		{"garbage after the dot", mxsim.At(mxsim.Dot, mxsim.Reply{Raw: "what\r\n"}), outcome.StageDot, 0, true, true, false},
	}
	for _, tt := range tests {
		for _, ext := range [][]string{nil, {}} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				h := host(t, mxsim.HostConfig{Extensions: ext, Script: mxsim.Times(1, tt.script)})
				s := must(t, h, options(session.Opportunistic))
				m, wanted := mail(), false
				m.Ready = func() error { wanted = true; return nil }
				r := s.Send(t.Context(), m)
				if wanted != tt.dot {
					t.Errorf("Ready asked = %t, want it only of a message that the server wants", wanted)
				}
				if ext == nil && tt.code == 0 && !tt.dot {
					r.Failure.Stage = tt.stage // a reset takes replies along that were not read yet
				}
				if r.Delivered || r.Failure.Stage != tt.stage || r.Failure.Reply.Code != tt.code || r.DotSent != tt.dot || r.InDoubt() != tt.inDoubt {
					t.Errorf("Send = %+v, want %s %d dot %v in doubt %v", r, tt.stage, tt.code, tt.dot, tt.inDoubt)
				}
				if s.Usable(0) != tt.usable {
					t.Fatalf("Usable = %v, want %v", s.Usable(0), tt.usable)
				}
				if tt.usable {
					if r := s.Send(t.Context(), mail()); !r.Delivered {
						t.Errorf("the next Send = %+v, want delivered", r)
					}
				}
			})
		}
	}
}

func TestSendStops(t *testing.T) {
	t.Parallel()
	stop := errors.New("lease lost")
	h := host(t, mxsim.HostConfig{})
	s := must(t, h, options(session.Opportunistic))
	m := mail()
	m.Begin = func() error { return stop }
	if r := s.Send(t.Context(), m); !errors.Is(r.Stopped, stop) || r.DotSent {
		t.Errorf("Send = %+v, want stopped before MAIL", r)
	}
	s = must(t, h, options(session.Opportunistic))
	m = mail()
	m.Commit = func() error { return stop }
	if r := s.Send(t.Context(), m); !errors.Is(r.Stopped, stop) || r.DotSent || s.Usable(0) {
		t.Errorf("Send = %+v, want stopped before the dot and the session closed", r)
	}
	s = must(t, h, options(session.Opportunistic))
	m = mail()
	m.Ready = func() error { return stop }
	m.Commit = func() error { t.Error("Commit was asked of a mail that was not ready"); return nil }
	if r := s.Send(t.Context(), m); !errors.Is(r.Stopped, stop) || r.DotSent || s.Usable(0) {
		t.Errorf("Send = %+v, want stopped before the message and the session closed", r)
	}
	if got := h.Stats().Mails; got != 0 {
		t.Errorf("%d mails taken, want none", got)
	}
}

func TestSendRefusesWithoutAsking(t *testing.T) {
	t.Parallel()
	h := host(t, mxsim.HostConfig{Extensions: []string{}, MaxSize: 10})
	s := must(t, h, options(session.Opportunistic))
	if r := s.Send(t.Context(), mail()); r.Failure.Cause != outcome.TooLarge {
		t.Errorf("Send beyond SIZE = %+v, want TooLarge", r)
	}
	m := mail()
	m.UTF8 = true
	if r := s.Send(t.Context(), m); r.Failure.Cause != outcome.NoUTF8 {
		t.Errorf("Send without SMTPUTF8 = %+v, want NoUTF8", r)
	}
	m = mail()
	m.To = "a@b>\r\nRSET"
	m.Body = []byte("x")
	if r := s.Send(t.Context(), m); r.Delivered || r.Failure.Stage == outcome.StageUnknown {
		t.Errorf("Send with a line end in the recipient = %+v, want refused", r)
	}
}

func TestSendIsCutByItsContext(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	h := host(t, mxsim.HostConfig{Script: func(e mxsim.Event) mxsim.Reply {
		if e.Stage == mxsim.Mail {
			asked <- struct{}{}
			return mxsim.Reply{Delay: time.Minute}
		}
		return mxsim.Reply{}
	}})
	s := must(t, h, options(session.Opportunistic))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if r := s.Send(ctx, mail()); r.Failure.Cause != outcome.Lost || r.DotSent {
		t.Errorf("Send = %+v, want lost before the dot", r)
	}
}

func TestDeadlineStopsTheWire(t *testing.T) {
	t.Parallel()
	h := host(t, mxsim.HostConfig{Script: mxsim.At(mxsim.Mail, mxsim.Reply{Delay: time.Minute})})
	s := must(t, h, options(session.Opportunistic))
	m := mail()
	m.Deadline = time.Now().Add(50 * time.Millisecond)
	if r := s.Send(t.Context(), m); r.Delivered || r.Failure.Cause != outcome.Lost || r.DotSent {
		t.Errorf("Send = %+v, want lost at the deadline", r)
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	h := host(t, mxsim.HostConfig{StartTLS: true, Login: func(u, p string) bool { return u == "me" && p == "right" }})
	opts := options(session.Opportunistic)
	opts.User, opts.Password = "me", "right"
	if r := must(t, h, opts).Send(t.Context(), mail()); !r.Delivered {
		t.Errorf("Send = %+v", r)
	}
	opts.Password = "wrong"
	var failed *session.Error
	if _, err := open(t, h, opts); !errors.As(err, &failed) || failed.Failure.Stage != outcome.StageAuth || failed.Failure.Reply.Code != 535 {
		t.Errorf("Open with a wrong password = %v, want 535 at auth", err)
	}
}

func TestLMTP(t *testing.T) {
	t.Parallel()
	h := host(t, mxsim.HostConfig{LMTP: true, Script: mxsim.Times(1, mxsim.At(mxsim.Dot, mxsim.Reply{Code: 452, Text: "4.2.2 full"}))})
	opts := options(session.Clear)
	opts.LMTP = true
	s := must(t, h, opts)
	if r := s.Send(t.Context(), mail()); r.Failure.Stage != outcome.StageDot || r.Failure.Reply.Code != 452 {
		t.Errorf("Send = %+v, want 452 for the recipient", r)
	}
	if r := s.Send(t.Context(), mail()); !r.Delivered {
		t.Errorf("Send = %+v", r)
	}
}
