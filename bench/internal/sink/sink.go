// Package sink is the destination of the benchmark's mail: emersion/go-smtp's
// server on a loopback port, in the clear, that reads each message, throws it
// away and notes when it answered 250.
//
// The bare client loop that measures the machine's limit and the mesh deliver
// to the same sink, so that whatever it costs is on both sides of a ratio. Who
// a mail is for says which it is: a local part is the letter of a [Series] and
// a number, so that noting an arrival is one store into a slice made before.
package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// Sink is a running server. Safe for concurrent use.
type Sink struct {
	listener net.Listener
	server   *smtp.Server
	serving  sync.WaitGroup
	closing  chan struct{}
	epoch    time.Time
	mu       sync.RWMutex
	series   map[byte]*Series // guarded by mu
	sample   atomic.Pointer[sample]
}

// sample is a message asked for.
type sample struct{ message chan []byte }

// New starts a sink on a port of loopback. Close it in the end.
func New(ctx context.Context) (*Sink, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the sink: %w", err)
	}
	s := &Sink{listener: l, closing: make(chan struct{}), epoch: time.Now(), series: make(map[byte]*Series)}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{sink: s}, nil }))
	s.server.Domain = "mx.sink.example"
	s.server.ErrorLog = silent{} // connections that end are no news
	s.serving.Go(func() { _ = s.server.Serve(l) })
	return s, nil
}

// silent drops what the server would log.
type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// Close ends every connection.
func (s *Sink) Close() error {
	close(s.closing)
	err := s.server.Close()
	s.serving.Wait()
	return err
}

// Addr is where the sink listens.
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Port is the port it listens on.
func (s *Sink) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Now is the sink's clock: what the arrivals are told in.
func (s *Sink) Now() time.Duration { return time.Since(s.epoch) }

// Sample has the next message kept and returns where it comes.
func (s *Sink) Sample() <-chan []byte {
	want := &sample{message: make(chan []byte, 1)}
	s.sample.Store(want)
	return want.message
}

// Expect begins a series of up to size mails under a letter; one that had the
// letter before is forgotten.
func (s *Sink) Expect(letter byte, size int) *Series {
	series := &Series{letter: letter, at: make([]atomic.Int64, size), slow: make(chan struct{})}
	close(series.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.series[letter] = series
	return series
}

func (s *Sink) find(letter byte) *Series {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.series[letter]
}

// session is one connection.
type session struct {
	sink   *Sink
	series *Series
	number int
}

func (c *session) Reset()                               { c.series = nil }
func (c *session) Logout() error                        { return nil }
func (c *session) Mail(string, *smtp.MailOptions) error { return nil }
func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	series, number, err := c.sink.parse(to)
	if err != nil {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	c.series, c.number = series, number
	return series.linger(c.sink.closing)
}

// parse finds whom an address is of.
func (s *Sink) parse(to string) (*Series, int, error) {
	local, _, ok := strings.Cut(to, "@")
	if !ok || len(local) < 2 {
		return nil, 0, errors.New("the address has no number")
	}
	series := s.find(local[0])
	if series == nil {
		return nil, 0, errors.New("the address is of no series")
	}
	n, err := strconv.Atoi(local[1:])
	if err != nil || n < 0 || n >= len(series.at) {
		return nil, 0, errors.New("the number is not of the series")
	}
	return series, n, nil
}

// Data reads the message; the 250 is written when it returns.
func (c *session) Data(r io.Reader) error {
	if want := c.sink.sample.Swap(nil); want != nil {
		message, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		want.message <- message
	} else if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	c.series.took(c.number, c.sink.Now())
	return nil
}
