package mxsim

import (
	"path"
	"strings"
	"sync"
	"time"
)

// Stage is where in a session a script is asked.
type Stage string

// Stages of a session, in the order a client meets them.
const (
	Greeting Stage = "greeting" // the connection is there, nothing is said yet
	Hello    Stage = "hello"    // EHLO, HELO or LHLO
	StartTLS Stage = "starttls" // STARTTLS; after the reply comes the handshake
	Auth     Stage = "auth"     // AUTH, credentials read and checked
	Mail     Stage = "mail"     // MAIL FROM
	Rcpt     Stage = "rcpt"     // RCPT TO
	Data     Stage = "data"     // DATA, before the message
	Dot      Stage = "dot"      // the message is read; in LMTP once per recipient
	Rset     Stage = "rset"     // RSET
	Quit     Stage = "quit"     // QUIT
	Other    Stage = "other"    // NOOP, VRFY and whatever else
)

// Event is what a script decides on.
type Event struct {
	// Host is the name of the host asked.
	Host string
	// Stage of the session.
	Stage Stage
	// Conn counts the host's connections, from 1.
	Conn int
	// Mails counts the MAIL commands of the session so far.
	Mails int
	// Arg is the client's name (Hello), the address (Mail, Rcpt, Dot: the
	// first recipient, in LMTP the one answered for), or the line (Other).
	Arg string
	// From and To are the envelope so far. To must not be kept.
	From string
	To   []string
	// Size is the length of the message read (Dot).
	Size int
	// TLS says whether the session is encrypted.
	TLS bool
}

// Reply is what the host does. The zero Reply is the default: what an honest
// host would say.
type Reply struct {
	// Code is the reply code; 0 keeps the default one.
	Code int
	// Text follows the code, enhanced code included ("5.1.1 no such user").
	// Lines are separated by \n. "" is a text that fits the code.
	Text string
	// Raw, unless "", is written as it is instead of Code and Text: CRLF and
	// all, or deliberately not. What the session does next follows Code.
	Raw string
	// Delay is waited before anything is written.
	Delay time.Duration
	// Close ends the connection after the reply.
	Close bool
	// Drop ends the connection without a reply, by RST. At Dot the message
	// counts as received if the code, given or default, is positive: the
	// mail that was taken and whose reply was lost.
	Drop bool
}

func (r Reply) isZero() bool { return r == Reply{} }

// Script decides the reply at each stage. It is called concurrently for
// concurrent connections and may block (a session is then held).
type Script func(e Event) Reply

// First asks the scripts in turn; the first reply that is not zero counts.
func First(scripts ...Script) Script {
	return func(e Event) Reply {
		for _, s := range scripts {
			if r := s(e); !r.isZero() {
				return r
			}
		}
		return Reply{}
	}
}

// At replies r at a stage, always.
func At(stage Stage, r Reply) Script {
	return func(e Event) Reply {
		if e.Stage == stage {
			return r
		}
		return Reply{}
	}
}

// To replies r to RCPT for addresses that match pattern, as path.Match does
// over the lower-case address ("*@gone.test", "full-*@*").
func To(pattern string, r Reply) Script {
	return func(e Event) Reply {
		if e.Stage != Rcpt {
			return Reply{}
		}
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(e.Arg)); err != nil || !ok {
			return Reply{}
		}
		return r
	}
}

// Times lets s give its first n replies that are not zero and then has no
// more say.
func Times(n int, s Script) Script {
	var mu sync.Mutex
	return func(e Event) Reply {
		r := s(e)
		if r.isZero() {
			return r
		}
		mu.Lock()
		defer mu.Unlock()
		if n <= 0 {
			return Reply{}
		}
		n--
		return r
	}
}

// Greylist refuses the first n RCPTs of each pair of sender and recipient
// with 450 and takes the rest. It remembers every pair.
func Greylist(n int) Script {
	var mu sync.Mutex
	seen := map[[2]string]int{}
	return func(e Event) Reply {
		if e.Stage != Rcpt {
			return Reply{}
		}
		mu.Lock()
		defer mu.Unlock()
		pair := [2]string{e.From, e.Arg}
		seen[pair]++
		if seen[pair] > n {
			return Reply{}
		}
		return Reply{Code: 450, Text: "4.7.1 greylisted, try again later"}
	}
}

// Tarpit delays every default reply by d.
func Tarpit(d time.Duration) Script {
	return func(Event) Reply { return Reply{Delay: d} }
}

// DropAfterDot takes the next n messages and drops the connection instead of
// saying so.
func DropAfterDot(n int) Script { return Times(n, At(Dot, Reply{Drop: true})) }
