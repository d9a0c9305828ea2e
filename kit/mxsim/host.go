package mxsim

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Extensions a host offers when its config names none.
const defaultExtensions = "PIPELINING 8BITMIME SMTPUTF8 ENHANCEDSTATUSCODES"

// HostConfig describes a mail host. The zero value is an honest SMTP server
// that takes all mail and keeps none.
type HostConfig struct {
	// Name the host goes by; "mx.test" if empty.
	Name string
	// Listen is its address; "127.0.0.1:0" if empty. All of 127.0.0.0/8 is
	// there to be used.
	Listen string
	// LMTP speaks RFC 2033 instead of SMTP.
	LMTP bool
	// Extensions are the EHLO keywords, with parameters ("MT-PRIORITY
	// MIXER"); nil offers PIPELINING, 8BITMIME, SMTPUTF8 and
	// ENHANCEDSTATUSCODES, an empty slice nothing. SIZE, STARTTLS and AUTH are
	// added by the fields below.
	Extensions []string
	// MaxSize is announced as SIZE (RFC 1870) and enforced, in bytes; 0
	// announces none and takes messages of up to 64 MB.
	MaxSize int
	// StartTLS offers STARTTLS (RFC 3207).
	StartTLS bool
	// Certificate for STARTTLS; nil makes a self-signed one for Name.
	Certificate *tls.Certificate
	// Login, unless nil, offers AUTH PLAIN (RFC 4954), decides on it, and
	// makes MAIL depend on it.
	Login func(user, password string) bool
	// Script decides replies; nil leaves all to the defaults.
	Script Script
	// Received, unless nil, is called with each message taken, before its
	// reply is written, from the connection's goroutine.
	Received func(Received)
	// Keep is how many messages to remember, the newest; 0 keeps none.
	Keep int
	// Timeout closes a connection that is silent for so long; 0 means 5 min.
	Timeout time.Duration
}

// Received is a message a host has taken.
type Received struct {
	// Host is the name of the host that took it.
	Host string
	// Hello is the name the client gave.
	Hello string
	// From is the return path, "" for <>.
	From string
	// To is the first recipient accepted.
	To string
	// Rcpts are all recipients accepted (in LMTP: whose reply was positive).
	Rcpts []string
	// Params are the parameters of MAIL, in upper case ("SIZE=120").
	Params []string
	// Data is the message as sent: dots unstuffed, final dot gone.
	Data []byte
	// At is when it was read whole.
	At time.Time
	// TLS says whether it came encrypted.
	TLS bool
	// User is who logged in, "" for nobody.
	User string
	// BareCR, BareLF and LongLines count breaches of RFC 5321 §2.3.8 and
	// §4.5.3.1.6: line ends that are not CRLF, lines above 1000 octets.
	BareCR, BareLF, LongLines int
}

// Stats counts what a host has seen.
type Stats struct {
	// Connections opened so far, Open now, Peak at once.
	Connections, Open, Peak int
	// Mails and Recipients taken; Refused counts 4xx and 5xx replies.
	Mails, Recipients, Refused int
	// Bytes of the messages taken.
	Bytes int64
}

// Host is a mail host that listens. Safe for concurrent use.
type Host struct {
	cfg      HostConfig
	listener net.Listener
	cert     tls.Certificate
	closing  chan struct{}
	halt     func()
	wg       sync.WaitGroup

	mu     sync.Mutex
	script Script
	conns  map[net.Conn]struct{}
	kept   []Received
	stats  Stats
	news   chan struct{} // closed and renewed when stats or kept change
}

// NewHost starts a host; a taken port is an error. Close it in the end.
func NewHost(cfg HostConfig) (*Host, error) {
	if cfg.Name == "" {
		cfg.Name = "mx.test"
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Minute
	}
	closing := make(chan struct{})
	h := &Host{
		cfg:     cfg,
		closing: closing,
		halt:    sync.OnceFunc(func() { close(closing) }),
		script:  cfg.Script,
		conns:   map[net.Conn]struct{}{},
		news:    make(chan struct{}),
	}
	if cfg.StartTLS {
		if cfg.Certificate == nil {
			cert, err := selfSigned(cfg.Name)
			if err != nil {
				return nil, fmt.Errorf("making a certificate for %s: %w", cfg.Name, err)
			}
			cfg.Certificate = &cert
		}
		h.cert = *cfg.Certificate
	}
	listener, err := net.Listen("tcp", cfg.Listen) //nolint:noctx // bound for the host's life
	if err != nil {
		return nil, fmt.Errorf("starting mail host %s: %w", cfg.Name, err)
	}
	h.listener = listener
	h.wg.Go(h.accept)
	return h, nil
}

// Name is the host's name.
func (h *Host) Name() string { return h.cfg.Name }

// Addr is the host's address, host:port.
func (h *Host) Addr() string { return h.listener.Addr().String() }

// Certificate is what the host shows after STARTTLS, DER, for a client's pool
// or a TLSA record; nil without StartTLS.
func (h *Host) Certificate() []byte {
	if len(h.cert.Certificate) == 0 {
		return nil
	}
	return h.cert.Certificate[0]
}

// SetScript exchanges the script; nil leaves all to the defaults. Replies
// being decided still follow the old one.
func (h *Host) SetScript(s Script) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.script = s
}

// Stats is a copy of the counts.
func (h *Host) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats
}

// Messages are the messages kept, oldest first.
func (h *Host) Messages() []Received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.kept)
}

// Wait returns once ok holds of the counts, or ctx ends, whose error it
// returns.
func (h *Host) Wait(ctx context.Context, ok func(Stats) bool) error {
	for {
		h.mu.Lock()
		stats, news := h.stats, h.news
		h.mu.Unlock()
		if ok(stats) {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitMails waits until n mails were taken.
func (h *Host) WaitMails(ctx context.Context, n int) error {
	return h.Wait(ctx, func(s Stats) bool { return s.Mails >= n })
}

// Disconnect drops every open connection and goes on listening.
func (h *Host) Disconnect() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for conn := range h.conns {
		reset(conn)
	}
}

// Close stops listening, drops the connections and waits for their end.
func (h *Host) Close() error {
	h.halt()
	err := h.listener.Close()
	h.Disconnect()
	h.wg.Wait()
	return err
}

func (h *Host) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			select {
			case <-h.closing:
				return
			case <-time.After(10 * time.Millisecond): // out of descriptors, likely
				continue
			}
		}
		number, ok := h.enter(conn)
		if !ok {
			return
		}
		h.wg.Go(func() {
			defer h.leave(conn)
			newSession(h, conn, number).serve()
		})
	}
}

// enter counts a connection in; false when the host is closing.
func (h *Host) enter(conn net.Conn) (int, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.closing:
		_ = conn.Close()
		return 0, false
	default:
	}
	h.conns[conn] = struct{}{}
	h.stats.Connections++
	h.stats.Open++
	h.stats.Peak = max(h.stats.Peak, h.stats.Open)
	h.tell()
	return h.stats.Connections, true
}

func (h *Host) leave(conn net.Conn) {
	_ = conn.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, conn)
	h.stats.Open--
	h.tell()
}

// take counts a message in, keeps it if wanted and passes it on.
func (h *Host) take(r Received) {
	if h.cfg.Received != nil {
		h.cfg.Received(r)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Mails++
	h.stats.Recipients += len(r.Rcpts)
	h.stats.Bytes += int64(len(r.Data))
	if h.cfg.Keep > 0 {
		if len(h.kept) == h.cfg.Keep {
			h.kept = h.kept[1:]
		}
		h.kept = append(h.kept, r)
	}
	h.tell()
}

func (h *Host) refuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Refused++
	h.tell()
}

// tell wakes who waits. The caller holds mu.
func (h *Host) tell() {
	close(h.news)
	h.news = make(chan struct{})
}

func (h *Host) ask(e Event) Reply {
	h.mu.Lock()
	script := h.script
	h.mu.Unlock()
	if script == nil {
		return Reply{}
	}
	return script(e)
}

// reset makes Close send RST instead of FIN.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
