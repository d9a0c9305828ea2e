package mxsim

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxLine    = 4096     // of a command; RFC 5321 §4.5.3.1.4 asks for 512 and more with extensions
	maxMessage = 64 << 20 // where the config sets no SIZE
)

// session is one connection, run by one goroutine.
type session struct {
	host   *Host
	conn   net.Conn // the TCP connection, also under TLS
	stream net.Conn // what is spoken on: conn or TLS over it
	r      *bufio.Reader
	w      *bufio.Writer
	number int

	hello  string
	user   string
	tls    bool
	mails  int
	inMail bool
	from   string
	params []string
	rcpts  []string
	over   bool
}

func newSession(h *Host, conn net.Conn, number int) *session {
	s := &session{host: h, conn: conn, number: number}
	s.speak(conn)
	return s
}

// speak begins anew on stream; what was buffered before is gone, so that
// commands sent ahead of a TLS handshake are not obeyed after it.
func (s *session) speak(stream net.Conn) {
	s.stream = stream
	s.r = bufio.NewReaderSize(stream, 32<<10)
	s.w = bufio.NewWriterSize(stream, 4<<10)
}

func (s *session) serve() {
	s.reply(s.event(Greeting, ""), Reply{Code: 220, Text: s.host.cfg.Name + " " + s.protocol() + " ready"})
	for !s.over {
		line, ok := s.readLine()
		if !ok {
			return
		}
		s.command(line)
	}
	_ = s.w.Flush()
}

func (s *session) protocol() string {
	if s.host.cfg.LMTP {
		return "LMTP"
	}
	return "ESMTP"
}

// readLine reads a command without its line end. Replies are written out
// first, unless the client has already sent more (RFC 2920 §3.2).
func (s *session) readLine() (string, bool) {
	if s.r.Buffered() == 0 && s.w.Flush() != nil {
		return "", false
	}
	s.deadline()
	var line []byte
	for {
		part, err := s.r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return string(bytes.TrimRight(line, "\r\n")), true
		}
		if err != bufio.ErrBufferFull || len(line) > maxLine { //nolint:errorlint // bufio returns it bare
			return "", false
		}
	}
}

func (s *session) deadline() { _ = s.stream.SetDeadline(time.Now().Add(s.host.cfg.Timeout)) }

func (s *session) command(line string) {
	verb, arg, _ := strings.Cut(line, " ")
	switch verb = strings.ToUpper(verb); verb {
	case "EHLO", "LHLO", "HELO":
		s.greet(verb, arg)
	case "STARTTLS":
		s.startTLS()
	case "AUTH":
		s.auth(arg)
	case "MAIL":
		s.mail(arg)
	case "RCPT":
		s.rcpt(arg)
	case "DATA":
		s.data()
	case "RSET":
		s.forget()
		s.reply(s.event(Rset, ""), Reply{Code: 250, Text: "2.0.0 forgotten"})
	case "QUIT":
		s.reply(s.event(Quit, ""), Reply{Code: 221, Text: "2.0.0 bye", Close: true})
	case "NOOP":
		s.reply(s.event(Other, line), Reply{Code: 250, Text: "2.0.0 done"})
	case "VRFY":
		s.reply(s.event(Other, line), Reply{Code: 252, Text: "2.1.5 try and see"})
	default:
		s.reply(s.event(Other, line), Reply{Code: 500, Text: "5.5.2 unknown command"})
	}
}

func (s *session) greet(verb, name string) {
	honest := Reply{Code: 250, Text: s.host.cfg.Name}
	switch {
	case s.host.cfg.LMTP != (verb == "LHLO"): // RFC 2033 §4.1: LHLO and nothing else
		honest = Reply{Code: 500, Text: "5.5.1 this host speaks " + s.protocol()}
	case strings.TrimSpace(name) == "":
		honest = Reply{Code: 501, Text: "5.5.4 say who you are"}
	default:
		s.forget()
		s.hello = name
		if verb != "HELO" {
			honest.Text = strings.Join(append([]string{s.host.cfg.Name}, s.keywords()...), "\n")
		}
	}
	s.reply(s.event(Hello, name), honest)
}

// keywords are the extensions as EHLO lists them.
func (s *session) keywords() []string {
	cfg := s.host.cfg
	list := slices.Clone(cfg.Extensions)
	if cfg.Extensions == nil {
		list = strings.Fields(defaultExtensions)
	}
	if cfg.MaxSize > 0 {
		list = append(list, "SIZE "+strconv.Itoa(cfg.MaxSize))
	}
	if cfg.StartTLS && !s.tls {
		list = append(list, "STARTTLS")
	}
	if cfg.Login != nil {
		list = append(list, "AUTH PLAIN")
	}
	return list
}

func (s *session) startTLS() {
	honest := Reply{Code: 220, Text: "2.0.0 go ahead"}
	if !s.host.cfg.StartTLS || s.tls {
		honest = Reply{Code: 502, Text: "5.5.1 not offered"}
	}
	if !s.reply(s.event(StartTLS, ""), honest) || s.over || len(s.host.cert.Certificate) == 0 {
		return
	}
	if s.w.Flush() != nil {
		s.over = true
		return
	}
	secure := tls.Server(s.conn, &tls.Config{Certificates: []tls.Certificate{s.host.cert}, MinVersion: tls.VersionTLS12})
	s.deadline()
	if secure.Handshake() != nil { //nolint:noctx // the deadline bounds it
		s.over = true
		return
	}
	s.tls, s.hello, s.user = true, "", "" // RFC 3207 §4.2: what was said before is forgotten
	s.forget()
	s.speak(secure)
}

// auth reads PLAIN (RFC 4616), with or without an initial response.
func (s *session) auth(arg string) {
	mechanism, initial, _ := strings.Cut(arg, " ")
	if s.host.cfg.Login == nil || !strings.EqualFold(mechanism, "PLAIN") {
		s.reply(s.event(Auth, mechanism), Reply{Code: 504, Text: "5.5.4 not offered"})
		return
	}
	if initial == "" {
		_, _ = s.w.WriteString("334 \r\n")
		line, ok := s.readLine()
		if !ok {
			s.over = true
			return
		}
		initial = line
	}
	user, good := "", false
	if raw, err := base64.StdEncoding.DecodeString(initial); err == nil {
		if f := strings.Split(string(raw), "\x00"); len(f) == 3 {
			user, good = f[1], s.host.cfg.Login(f[1], f[2])
		}
	}
	honest := Reply{Code: 235, Text: "2.7.0 welcome"}
	if !good {
		honest = Reply{Code: 535, Text: "5.7.8 wrong name or password"}
	}
	if s.reply(s.event(Auth, user), honest) {
		s.user = user
	}
}

func (s *session) mail(arg string) {
	addr, params, ok := parsePath(arg, "FROM:")
	honest := Reply{Code: 250, Text: "2.1.0 sender is fine"}
	switch {
	case !ok:
		honest = Reply{Code: 501, Text: "5.5.4 want MAIL FROM:<address>"}
	case s.hello == "" || s.inMail:
		honest = Reply{Code: 503, Text: "5.5.1 not now"}
	case s.host.cfg.Login != nil && s.user == "":
		honest = Reply{Code: 530, Text: "5.7.0 log in first"}
	case s.host.cfg.MaxSize > 0 && declaredSize(params) > s.host.cfg.MaxSize:
		honest = Reply{Code: 552, Text: "5.3.4 too large"} // RFC 1870 §6.1
	}
	s.mails++
	e := s.event(Mail, addr)
	e.From = addr
	if s.reply(e, honest) {
		s.inMail, s.from, s.params, s.rcpts = true, addr, params, nil
	}
}

func (s *session) rcpt(arg string) {
	addr, _, ok := parsePath(arg, "TO:")
	honest := Reply{Code: 250, Text: "2.1.5 recipient is fine"}
	switch {
	case !ok || addr == "":
		honest = Reply{Code: 501, Text: "5.5.4 want RCPT TO:<address>"}
	case !s.inMail:
		honest = Reply{Code: 503, Text: "5.5.1 MAIL comes first"}
	}
	if s.reply(s.event(Rcpt, addr), honest) {
		s.rcpts = append(s.rcpts, addr)
	}
}

func (s *session) data() {
	honest := Reply{Code: 354, Text: "go on, end with a dot"}
	switch {
	case !s.inMail:
		honest = Reply{Code: 503, Text: "5.5.1 MAIL comes first"}
	case len(s.rcpts) == 0:
		honest = Reply{Code: 554, Text: "5.5.1 no valid recipients"}
	}
	if !s.reply(s.event(Data, ""), honest) || s.over {
		return
	}
	if s.w.Flush() != nil {
		s.over = true
		return
	}
	limit := s.host.cfg.MaxSize
	if limit <= 0 {
		limit = maxMessage
	}
	s.deadline()
	body, err := readData(s.r, limit, declaredSize(s.params))
	if err != nil {
		s.over = true
		return
	}
	s.settle(body)
	s.forget()
}

// settle answers the dot: once, or in LMTP once per recipient (RFC 2033 §4.2).
func (s *session) settle(body body) {
	honest := Reply{Code: 250, Text: "2.0.0 taken"}
	if body.tooLarge {
		honest = Reply{Code: 552, Text: "5.3.4 too large"}
	}
	msg := Received{
		Host: s.host.cfg.Name, Hello: s.hello, From: s.from, Params: s.params,
		Data: body.data, At: time.Now(), TLS: s.tls, User: s.user,
		BareCR: body.bareCR, BareLF: body.bareLF, LongLines: body.longLines,
	}
	dot := func(to string) Event {
		e := s.event(Dot, to)
		e.Size = len(body.data)
		return e
	}
	rcpts := s.rcpts
	if !s.host.cfg.LMTP {
		r := s.decide(dot(rcpts[0]), honest)
		if r.Code/100 == 2 {
			msg.To, msg.Rcpts = rcpts[0], rcpts
			s.host.take(msg)
		}
		s.act(r)
		return
	}
	var replies []Reply
	for _, to := range rcpts {
		r := s.decide(dot(to), honest)
		if r.Code/100 == 2 {
			msg.Rcpts = append(msg.Rcpts, to)
		}
		replies = append(replies, r)
	}
	if len(msg.Rcpts) > 0 {
		msg.To = msg.Rcpts[0]
		s.host.take(msg)
	}
	for _, r := range replies {
		if s.over {
			return
		}
		s.act(r)
	}
}

func (s *session) forget() { s.inMail, s.from, s.params, s.rcpts = false, "", nil, nil }

func (s *session) event(stage Stage, arg string) Event {
	return Event{
		Host: s.host.cfg.Name, Stage: stage, Conn: s.number, Mails: s.mails, Arg: arg,
		From: s.from, To: s.rcpts, TLS: s.tls,
	}
}

// reply asks the script, does what it says, and answers whether the reply was
// positive.
func (s *session) reply(e Event, honest Reply) bool {
	r := s.decide(e, honest)
	s.act(r)
	return r.Code/100 == 2 || r.Code/100 == 3
}

// decide lays the script's reply over the honest one.
func (s *session) decide(e Event, honest Reply) Reply {
	r := s.host.ask(e)
	if r.Code == 0 {
		r.Code = honest.Code
		if r.Text == "" {
			r.Text = honest.Text
		}
		r.Close = r.Close || honest.Close
	}
	if r.Text == "" {
		r.Text = wording(r.Code)
	}
	r.Close = r.Close || r.Code == 421 // RFC 5321 §3.8: 421 closes
	return r
}

// act writes a reply, or does what it says instead.
func (s *session) act(r Reply) {
	if r.Delay > 0 {
		_ = s.w.Flush()
		timer := time.NewTimer(r.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.host.closing:
			s.over = true
			return
		}
		s.deadline()
	}
	if r.Code >= 400 {
		s.host.refuse()
	}
	switch {
	case r.Drop:
		s.over = true
		reset(s.conn)
		return
	case r.Raw != "":
		_, _ = s.w.WriteString(r.Raw)
	default:
		lines := strings.Split(r.Text, "\n")
		for i, line := range lines {
			sep := byte('-')
			if i == len(lines)-1 {
				sep = ' '
			}
			_, _ = fmt.Fprintf(s.w, "%03d%c%s\r\n", r.Code, sep, line)
		}
	}
	if r.Close {
		s.over = true
		_ = s.w.Flush()
	}
}

func wording(code int) string {
	switch code / 100 {
	case 2, 3:
		return "fine"
	case 4:
		return "4.0.0 try again later"
	}
	return "5.0.0 no"
}
