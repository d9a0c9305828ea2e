package chaos

import (
	"bytes"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"time"

	"kurir.dev/kit/mxsim"
)

// Copy is a message a mail host has taken.
type Copy struct {
	// Data is when DATA came, At when the message was read whole.
	Data, At time.Time
	// Sender is the name the dispatcher greeted with.
	Sender string
	// Dropped says that the host hung up instead of replying.
	Dropped bool
	// Read is when the next command showed that the reply was read; zero when
	// none came on the connection.
	Read time.Time
	// MessageID is the header's value.
	MessageID string
}

// Story is what the hosts know of one recipient.
type Story struct {
	Copies []*Copy
	// Refused counts 5xx, Deferred 4xx replies about the mail.
	Refused, Deferred int
	// Last is when a byte of the message was last welcome: DATA or the dot,
	// whether the message was taken or not.
	Last time.Time
}

// judge is the mail hosts' memory. Safe for concurrent use.
type judge struct {
	mu      sync.Mutex
	stories map[string]*Story // by recipient
	lines   map[line]*talk
}

// line is one connection of one host.
type line struct {
	host string
	conn int
}

// talk is what was said on a line.
type talk struct {
	sender string
	data   time.Time
	open   *Copy // its reply was not seen to be read yet
}

func newJudge() *judge { return &judge{stories: map[string]*Story{}, lines: map[line]*talk{}} }

// listen wraps the script of a host, so that all it is asked is noted.
func (j *judge) listen(script mxsim.Script) mxsim.Script {
	return func(e mxsim.Event) mxsim.Reply {
		j.hear(e)
		r := mxsim.Reply{}
		if script != nil {
			r = script(e)
		}
		j.answer(e, r)
		return r
	}
}

func (j *judge) hear(e mxsim.Event) {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	at := line{e.Host, e.Conn}
	t, ok := j.lines[at]
	if !ok {
		t = &talk{}
		j.lines[at] = t
	}
	if t.open != nil && e.Stage != mxsim.Dot {
		t.open.Read, t.open = now, nil
	}
	switch e.Stage {
	case mxsim.Hello:
		t.sender = e.Arg
	case mxsim.Data:
		if t.data = now; len(e.To) > 0 { // none when DATA was sent ahead of the reply to RCPT
			j.story(e.To[0]).Last = now
		}
	case mxsim.Dot:
		s := j.story(e.To[0])
		s.Last = now
		t.open = &Copy{Data: t.data, At: now, Sender: t.sender}
	case mxsim.Quit:
		delete(j.lines, at)
	default:
	}
}

func (j *judge) answer(e mxsim.Event, r mxsim.Reply) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.lines[line{e.Host, e.Conn}]
	var about string
	switch e.Stage {
	case mxsim.Rcpt:
		about = e.Arg
	case mxsim.Dot:
		about = e.To[0]
		if r.Code/100 == 0 || r.Code/100 == 2 {
			t.open.Dropped = r.Drop
			s := j.story(about)
			s.Copies = append(s.Copies, t.open)
		} else {
			t.open = nil
		}
	default:
		return
	}
	switch r.Code / 100 {
	case 4:
		j.story(about).Deferred++
	case 5:
		j.story(about).Refused++
	}
}

// receive is told of each message taken, right after the script was asked.
func (j *judge) receive(r mxsim.Received) {
	m, err := mail.ReadMessage(bytes.NewReader(r.Data))
	id := fmt.Sprint(err)
	if err == nil {
		id = m.Header.Get("Message-Id")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	copies := j.story(r.To).Copies
	for _, c := range slices.Backward(copies) {
		if c.Sender == r.Hello && c.MessageID == "" {
			c.MessageID = id
			return
		}
	}
}

// story is that of a recipient; j.mu is held.
func (j *judge) story(to string) *Story {
	to = strings.ToLower(to)
	s, ok := j.stories[to]
	if !ok {
		s = &Story{}
		j.stories[to] = s
	}
	return s
}

// about is a copy of what is known of a recipient.
func (j *judge) about(to string) Story {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := *j.story(to)
	s.Copies = make([]*Copy, len(s.Copies))
	for i, c := range j.story(to).Copies {
		whole := *c
		s.Copies[i] = &whole
	}
	return s
}
