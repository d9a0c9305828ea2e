package session

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"kurir.dev/services/dispatcher/internal/outcome"
)

// Mail is one mail for one recipient.
type Mail struct {
	// From is the return path, "" for <>; To the recipient.
	From, To string
	// UTF8 says that the session must offer SMTPUTF8 (RFC 6531).
	UTF8 bool
	// Priority is said where MT-PRIORITY is offered (RFC 6710), -9 to 9; 0
	// says nothing.
	Priority int
	// Body is the message, CRLF line ends.
	Body []byte
	// Deadline is when the last byte of it may be on the wire; zero for none.
	Deadline time.Time
	// Timeouts bound its steps; zero takes those the session was opened with.
	Timeouts Timeouts
	// Begin is asked right before MAIL FROM, Ready when the server has said that
	// it wants the message, Commit right before the final dot; an error of theirs
	// stops the mail, and is Result.Stopped.
	Begin func() error
	// Ready is asked before the message is written; it may wait a moment.
	Ready func() error
	// Commit is asked right before the final dot; see Begin.
	Commit func() error
}

// Result is what sending came to.
type Result struct {
	// Delivered says that the server has taken the mail over.
	Delivered bool
	// Reply is the server's last word about it.
	Reply outcome.Reply
	// Failure is what to judge when it was not delivered.
	Failure outcome.Failure
	// DotSent says that the final dot may have been on the wire. With neither
	// Delivered nor a reply at that stage, the mail is in doubt.
	DotSent bool
	// Stopped is what Begin, Ready or Commit said against it.
	Stopped error
	// Err is the connection's error, for logs.
	Err error
}

// InDoubt says that nobody knows whether the server has taken the mail.
func (r Result) InDoubt() bool { return r.DotSent && !r.Delivered && r.Failure.Reply.Code == 0 }

// Send carries one mail. ctx's end cuts the dialogue wherever it is; after the
// final dot the mail is then in doubt. Afterwards ask Usable.
func (s *Session) Send(ctx context.Context, m Mail) Result {
	if s.broken {
		return failed(outcome.StageMail, outcome.Lost, errors.New("the session is closed"))
	}
	if _, ok := s.ext["SMTPUTF8"]; m.UTF8 && !ok {
		return failed(outcome.StageMail, outcome.NoUTF8, nil)
	}
	if limit, err := strconv.Atoi(s.ext["SIZE"]); err == nil && limit > 0 && len(m.Body) > limit {
		return failed(outcome.StageMail, outcome.TooLarge, nil) // RFC 1870 §6.1
	}
	if m.Timeouts != (Timeouts{}) {
		s.opts.Timeouts = m.Timeouts
	}
	defer s.wire.watch(ctx)()
	if err := m.Begin(); err != nil {
		return Result{Stopped: err}
	}
	s.mails.Add(1)
	result := s.envelope(m)
	if result.Failure.Stage == outcome.StageUnknown && result.Stopped == nil {
		result = s.content(m)
	}
	if result.Stopped != nil {
		s.Close() // in the midst of DATA there is no other way out
	}
	return result
}

// envelope says MAIL, RCPT and DATA, at once where the server takes them so.
func (s *Session) envelope(m Mail) Result {
	lines := []string{s.mailLine(m), "RCPT TO:<" + m.To + ">", "DATA"}
	stages := []outcome.Stage{outcome.StageMail, outcome.StageRcpt, outcome.StageData}
	if s.reset {
		lines, stages = append([]string{"RSET"}, lines...), append([]outcome.Stage{outcome.StageMail}, stages...)
	}
	if _, ok := s.ext["PIPELINING"]; !ok {
		return s.oneByOne(m, lines, stages)
	}
	s.limit(m, s.opts.Timeouts.Command)
	for _, line := range lines {
		if strings.ContainsAny(line, "\r\n\x00") {
			return failed(outcome.StageMail, outcome.Internal, errors.New("a command holds a line end"))
		}
	}
	if _, err := s.w.WriteString(strings.Join(lines, "\r\n") + "\r\n"); err != nil {
		return s.broke(stages[0], err)
	}
	if err := s.w.Flush(); err != nil {
		return s.broke(stages[0], err)
	}
	var first Result
	for i, line := range lines {
		reply, err := s.read(stages[i])
		if err != nil {
			if first.Failure.Stage != outcome.StageUnknown {
				return first // what was said before the connection broke counts
			}
			return s.broke(stages[i], err)
		}
		if first.Failure.Stage == outcome.StageUnknown {
			first = s.judge(line, stages[i], reply)
		} else if line == "DATA" && reply.Code == 354 {
			s.empty() // it wants a message that has no recipient (RFC 2920 §3.1)
		}
	}
	return first
}

func (s *Session) oneByOne(m Mail, lines []string, stages []outcome.Stage) Result {
	for i, line := range lines {
		s.limit(m, s.opts.Timeouts.Command)
		if line == "DATA" {
			s.limit(m, s.opts.Timeouts.Data)
		}
		if err := s.write(line); err != nil {
			return s.broke(stages[i], err)
		}
		reply, err := s.read(stages[i])
		if err != nil {
			return s.broke(stages[i], err)
		}
		if r := s.judge(line, stages[i], reply); r.Failure.Stage != outcome.StageUnknown {
			return r
		}
	}
	return Result{}
}

// judge is the zero Result when the reply is the one hoped for.
func (s *Session) judge(line string, stage outcome.Stage, reply outcome.Reply) Result {
	want := reply.Code/100 == 2
	switch line {
	case "RSET":
		s.reset = !want
	case "DATA":
		want = reply.Code == 354
	default:
		s.reset = true
	}
	if want {
		return Result{Reply: reply}
	}
	if reply.Code < 400 {
		s.broken = true
		return failed(stage, outcome.Desync, errDesync)
	}
	return Result{Reply: reply, Failure: outcome.Failure{Stage: stage, Reply: reply}}
}

// content writes the message, asks leave once more, and ends it.
func (s *Session) content(m Mail) Result {
	if err := m.Ready(); err != nil {
		return Result{Stopped: err}
	}
	s.limit(m, s.opts.Timeouts.Block)
	if err := stuff(s.w, m.Body); err != nil {
		return s.broke(outcome.StageData, err)
	}
	if err := s.w.Flush(); err != nil {
		return s.broke(outcome.StageData, err)
	}
	if err := m.Commit(); err != nil {
		return Result{Stopped: err}
	}
	s.limit(m, s.opts.Timeouts.Command)
	if n, err := s.conn.Write([]byte(".\r\n")); err != nil {
		r := s.broke(outcome.StageDot, err)
		r.DotSent = n > 0 || s.info.TLS != "" // TLS does not say how much of it left
		return r
	}
	s.arm(s.opts.Timeouts.Dot)
	reply, err := s.read(outcome.StageDot)
	if err != nil {
		r := s.broke(outcome.StageDot, err)
		r.DotSent = true
		return r
	}
	s.reset = false
	if reply.Code/100 == 2 {
		return Result{Delivered: true, Reply: reply, DotSent: true}
	}
	if reply.Code < 400 {
		s.broken = true
		r := failed(outcome.StageDot, outcome.Desync, errDesync)
		r.DotSent = true
		return r
	}
	return Result{Reply: reply, Failure: outcome.Failure{Stage: outcome.StageDot, Reply: reply}, DotSent: true}
}

// empty ends a message nobody shall have.
func (s *Session) empty() {
	if _, err := s.conn.Write([]byte(".\r\n")); err != nil {
		s.broken = true
		return
	}
	if _, err := s.read(outcome.StageDot); err != nil {
		s.broken = true
	}
}

func (s *Session) mailLine(m Mail) string {
	var b strings.Builder
	b.WriteString("MAIL FROM:<" + m.From + ">")
	if _, ok := s.ext["SIZE"]; ok {
		b.WriteString(" SIZE=" + strconv.Itoa(len(m.Body)))
	}
	if _, ok := s.ext["8BITMIME"]; ok && eightBit(m.Body) {
		b.WriteString(" BODY=8BITMIME") // RFC 6152
	}
	if m.UTF8 {
		b.WriteString(" SMTPUTF8")
	}
	if _, ok := s.ext["MT-PRIORITY"]; ok && m.Priority != 0 {
		b.WriteString(" MT-PRIORITY=" + strconv.Itoa(m.Priority))
	}
	return b.String()
}

// limit arms the next step, never beyond the mail's own deadline.
func (s *Session) limit(m Mail, d time.Duration) {
	t := time.Now().Add(d)
	if !m.Deadline.IsZero() && m.Deadline.Before(t) {
		t = m.Deadline
	}
	_ = s.wire.until(t)
}

func (s *Session) broke(stage outcome.Stage, err error) Result {
	s.broken = true
	if opened, ok := errors.AsType[*Error](err); ok {
		return Result{Failure: opened.Failure, Err: opened.Err}
	}
	return failed(stage, outcome.Lost, err)
}

func failed(stage outcome.Stage, cause outcome.Cause, err error) Result {
	return Result{Failure: outcome.Failure{Stage: stage, Cause: cause}, Err: err}
}

type byteWriter interface {
	Write(p []byte) (int, error)
	WriteByte(c byte) error
	WriteString(s string) (int, error)
}

// stuff writes the body as RFC 5321 §4.5.2 wants it: a dot at the start of a
// line doubled, and a line end at the end. Line ends are CRLF alone, so that
// no bare CR or LF can hide a final dot from one side and show it to the other.
func stuff(w byteWriter, body []byte) error {
	for len(body) > 0 {
		line, rest := body, []byte(nil)
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			line, rest = body[:i], body[i+1:]
		}
		body = rest
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			line = bytes.ReplaceAll(line, []byte("\r"), nil)
		}
		if len(line) > 0 && line[0] == '.' {
			if err := w.WriteByte('.'); err != nil {
				return err
			}
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		if _, err := w.WriteString("\r\n"); err != nil {
			return err
		}
	}
	return nil
}

func eightBit(body []byte) bool {
	for _, c := range body {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
