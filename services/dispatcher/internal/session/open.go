package session

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"kurir.dev/services/dispatcher/internal/outcome"
)

// Mode is what is asked of TLS.
type Mode int

// The modes.
const (
	// Clear never encrypts.
	Clear Mode = iota
	// Opportunistic takes STARTTLS where it is offered, with any certificate.
	Opportunistic
	// Required wants STARTTLS with a valid certificate.
	Required
	// Implicit wants TLS from the first byte, with a valid certificate.
	Implicit
)

// Options say how to open a session.
type Options struct {
	// Host is the server's name, for TLS and for events.
	Host string
	// EHLO is our name.
	EHLO string
	// LMTP speaks RFC 2033.
	LMTP bool
	// TLS is what is asked of it.
	TLS Mode
	// Roots verify certificates; nil means the system's.
	Roots *x509.CertPool
	// User and Password log in when User is not empty; only over TLS, or on
	// a loopback or unix connection.
	User, Password string
	// Timeouts bound the steps.
	Timeouts Timeouts
	// Now is the clock.
	Now func() time.Time
}

// Error is a session that could not be opened.
type Error struct {
	// Failure is what to judge.
	Failure outcome.Failure
	// Err is what lies beneath; nil when the server's reply says it all.
	Err error
}

// Error says how far it came.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("opening a session: %s: %v", e.Failure.Stage, e.Err)
	}
	return fmt.Sprintf("opening a session: %s: reply %d", e.Failure.Stage, e.Failure.Reply.Code)
}

// Unwrap returns what lies beneath.
func (e *Error) Unwrap() error { return e.Err }

// Info is what others may know of a session.
type Info struct {
	// Host is the server's name, Remote its IP address.
	Host, Remote string
	// TLS is version and cipher; empty in the clear.
	TLS string
	// Since is when it was opened.
	Since time.Time
	// Mails were sent over it.
	Mails int64
}

// Session is a connection that has said EHLO.
type Session struct {
	conn   net.Conn
	wire   *wire
	r      *bufio.Reader
	w      *bufio.Writer
	opts   Options
	ext    map[string]string
	info   Info
	mails  atomic.Int64
	reset  bool // a transaction was begun and not ended
	broken bool
}

// Open greets the server at the other end of conn. On failure the connection
// is closed and the error is *Error. ctx's end cuts the dialogue.
func Open(ctx context.Context, conn net.Conn, opts Options) (*Session, error) {
	s := &Session{wire: &wire{conn: conn}, opts: opts}
	s.info = Info{Host: opts.Host, Remote: remoteIP(conn), Since: opts.Now()}
	s.attach(conn)
	defer s.wire.watch(ctx)()
	if err := s.open(ctx); err != nil {
		_ = s.conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *Session) attach(conn net.Conn) {
	s.conn, s.r, s.w = conn, bufio.NewReaderSize(conn, maxLine), bufio.NewWriterSize(conn, 16<<10)
}

func (s *Session) open(ctx context.Context) error {
	if s.opts.TLS == Implicit {
		if err := s.handshake(ctx); err != nil {
			return err
		}
	}
	s.arm(s.opts.Timeouts.Greeting)
	if err := s.expect(outcome.StageGreeting, 220); err != nil {
		return err
	}
	if err := s.hello(); err != nil {
		return err
	}
	if err := s.startTLS(ctx); err != nil {
		return err
	}
	return s.login()
}

// hello says EHLO and reads the extensions; where EHLO is not known, HELO
// (RFC 5321 §3.2).
func (s *Session) hello() error {
	verb := "EHLO "
	if s.opts.LMTP {
		verb = "LHLO "
	}
	reply, err := s.command(outcome.StageEHLO, verb+s.opts.EHLO)
	if err == nil && reply.Code >= 500 && reply.Code <= 504 && !s.opts.LMTP {
		s.ext = nil
		return s.simple(outcome.StageEHLO, "HELO "+s.opts.EHLO, 250)
	}
	if err != nil {
		return err
	}
	if reply.Code != 250 {
		return refused(outcome.StageEHLO, reply)
	}
	s.ext = map[string]string{}
	lines := strings.Split(reply.Text, "\n")
	for _, line := range lines[1:] {
		name, params, _ := strings.Cut(line, " ")
		s.ext[strings.ToUpper(name)] = params
	}
	return nil
}

func (s *Session) startTLS(ctx context.Context) error {
	if s.opts.TLS != Opportunistic && s.opts.TLS != Required {
		return nil
	}
	if _, offered := s.ext["STARTTLS"]; !offered {
		if s.opts.TLS == Required {
			return &Error{Failure: outcome.Failure{Stage: outcome.StageTLS, Cause: outcome.BrokenTLS}, Err: errors.New("STARTTLS is not offered")}
		}
		return nil
	}
	if err := s.simple(outcome.StageTLS, "STARTTLS", 220); err != nil {
		return &Error{Failure: outcome.Failure{Stage: outcome.StageTLS, Cause: outcome.BrokenTLS}, Err: err}
	}
	if s.r.Buffered() > 0 {
		// Bytes before the handshake were injected in the clear.
		return &Error{Failure: outcome.Failure{Stage: outcome.StageTLS, Cause: outcome.BrokenTLS}, Err: errDesync}
	}
	if err := s.handshake(ctx); err != nil {
		return err
	}
	return s.hello() // what was offered in the clear is forgotten (RFC 3207 §4.2)
}

func (s *Session) handshake(ctx context.Context) error {
	conn := tls.Client(s.conn, &tls.Config{
		ServerName: s.opts.Host, RootCAs: s.opts.Roots, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: s.opts.TLS == Opportunistic, //nolint:gosec // an unverified certificate beats the clear (RFC 7435)
	})
	s.arm(s.opts.Timeouts.Command)
	if err := conn.HandshakeContext(ctx); err != nil {
		return &Error{Failure: outcome.Failure{Stage: outcome.StageTLS, Cause: outcome.BrokenTLS}, Err: err}
	}
	state := conn.ConnectionState()
	s.info.TLS = strings.ReplaceAll(tls.VersionName(state.Version), " ", "") + " " + tls.CipherSuiteName(state.CipherSuite)
	s.attach(conn)
	return nil
}

func (s *Session) login() error {
	if s.opts.User == "" {
		return nil
	}
	if s.info.TLS == "" && !private(s.conn) {
		return &Error{Failure: outcome.Failure{Stage: outcome.StageAuth, Cause: outcome.BrokenTLS}, Err: errors.New("a password is not sent in the clear")}
	}
	token := base64.StdEncoding.EncodeToString([]byte("\x00" + s.opts.User + "\x00" + s.opts.Password))
	return s.simple(outcome.StageAuth, "AUTH PLAIN "+token, 235)
}

// Named has Info call the host by another name than TLS did; for smart hosts,
// whose port is part of theirs. Not after others know the session.
func (s *Session) Named(host string) *Session {
	s.info.Host = host
	return s
}

// Info is safe to call from any goroutine.
func (s *Session) Info() Info {
	info := s.info
	info.Mails = s.mails.Load()
	return info
}

// Usable says whether the session can carry another mail: it is in step, the
// server has said nothing unasked, and the limit is not reached.
func (s *Session) Usable(limit int) bool {
	return !s.broken && s.r.Buffered() == 0 && (limit == 0 || s.mails.Load() < int64(limit))
}

// Noop says NOOP and answers whether the session is as it should be; if not, it
// is not usable any more.
func (s *Session) Noop(ctx context.Context) bool {
	if s.broken || s.r.Buffered() > 0 {
		return false
	}
	defer s.wire.watch(ctx)()
	if err := s.simple(outcome.StageMail, "NOOP", 250); err != nil {
		s.broken = true
	}
	return !s.broken
}

// Quit ends the session politely, within a second.
func (s *Session) Quit() {
	if !s.broken {
		_ = s.wire.until(time.Now().Add(time.Second))
		if _, err := s.w.WriteString("QUIT\r\n"); err == nil && s.w.Flush() == nil {
			_, _ = readReply(s.r)
		}
	}
	s.Close()
}

// Close ends the session at once.
func (s *Session) Close() {
	s.broken = true
	_ = s.wire.conn.Close() // beneath TLS: no alert is worth waiting for
}

// command writes a line and reads its reply. An error is *Error and means the
// connection.
func (s *Session) command(stage outcome.Stage, line string) (outcome.Reply, error) {
	s.arm(s.opts.Timeouts.Command)
	if err := s.write(line); err != nil {
		return outcome.Reply{}, s.lost(stage, err)
	}
	return s.read(stage)
}

func (s *Session) simple(stage outcome.Stage, line string, want int) error {
	reply, err := s.command(stage, line)
	if err != nil {
		return err
	}
	if reply.Code != want {
		return refused(stage, reply)
	}
	return nil
}

func (s *Session) expect(stage outcome.Stage, want int) error {
	reply, err := s.read(stage)
	if err != nil {
		return err
	}
	if reply.Code != want {
		return refused(stage, reply)
	}
	return nil
}

func (s *Session) write(line string) error {
	if strings.ContainsAny(line, "\r\n\x00") {
		return errors.New("a command holds a line end")
	}
	if _, err := s.w.WriteString(line); err != nil {
		return err
	}
	if _, err := s.w.WriteString("\r\n"); err != nil {
		return err
	}
	return s.w.Flush()
}

func (s *Session) read(stage outcome.Stage) (outcome.Reply, error) {
	reply, err := readReply(s.r)
	if err != nil {
		return outcome.Reply{}, s.lost(stage, err)
	}
	if reply.Code == 421 {
		s.broken = true // the server closes (RFC 5321 §3.8)
	}
	return reply, nil
}

// lost marks the session unusable.
func (s *Session) lost(stage outcome.Stage, err error) *Error {
	s.broken = true
	cause := outcome.Lost
	if errors.Is(err, errDesync) {
		cause = outcome.Desync
	}
	return &Error{Failure: outcome.Failure{Stage: stage, Cause: cause}, Err: err}
}

func (s *Session) arm(d time.Duration) { _ = s.wire.until(time.Now().Add(d)) }

func refused(stage outcome.Stage, reply outcome.Reply) *Error {
	f := outcome.Failure{Stage: stage, Reply: reply}
	if reply.Code < 400 {
		// A positive reply of the wrong kind.
		f = outcome.Failure{Stage: stage, Cause: outcome.Desync}
	}
	return &Error{Failure: f}
}
