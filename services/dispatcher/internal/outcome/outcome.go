// Package outcome judges what a delivery attempt came to. [Classify] is a pure
// function of the stage reached, the server's reply and, where there was no
// reply, the cause: it says which class of failure it is, whose fault, whether
// trying again can help, whether another host may do better, and how long the
// server asked us to wait.
//
// The order of evidence: the stage (nothing said before MAIL FROM is about the
// mail), then the reply's text where providers are known to send a code that
// contradicts it, then the enhanced status code (RFC 3463), then the basic
// code (RFC 5321 §4.2).
//
// Everything here is a value or a pure function and safe for concurrent use.
package outcome

import (
	"strconv"
	"time"
)

// Category is the class of a failure, for reports and rules.
type Category int

// The categories; None goes with success.
const (
	None Category = iota
	InvalidRecipient
	MailboxFull
	Blocked
	Spam
	Greylisted
	RateLimited
	Policy
	Auth
	DNS
	Network
	TLS
	Protocol
	Expired
	Other
)

// Categories lists every category, for metrics that start at zero.
func Categories() []Category {
	all := make([]Category, 0, Other+1)
	for c := None; c <= Other; c++ {
		all = append(all, c)
	}
	return all
}

// String is the category's name in logs and metrics.
func (c Category) String() string {
	switch c {
	case None:
		return "none"
	case InvalidRecipient:
		return "invalid_recipient"
	case MailboxFull:
		return "mailbox_full"
	case Blocked:
		return "blocked"
	case Spam:
		return "spam"
	case Greylisted:
		return "greylisted"
	case RateLimited:
		return "rate_limited"
	case Policy:
		return "policy"
	case Auth:
		return "auth"
	case DNS:
		return "dns"
	case Network:
		return "network"
	case TLS:
		return "tls"
	case Protocol:
		return "protocol"
	case Expired:
		return "expired"
	case Other:
		return "other"
	}
	return "category_" + strconv.Itoa(int(c))
}

// Party is who a failure is to be laid to.
type Party int

// The parties. Only a hard failure of the recipient suppresses an address.
const (
	Nobody Party = iota
	Recipient
	Sender
	Receiver
)

// Stage is how far an attempt came.
type Stage int

// The stages, in the order of a delivery; Queue is before all of them.
const (
	StageUnknown Stage = iota
	StageDNS
	StageConnect
	StageGreeting
	StageEHLO
	StageTLS
	StageAuth
	StageMail
	StageRcpt
	StageData
	StageDot
	StageQueue
)

// String is the stage's name in logs and spans.
func (s Stage) String() string {
	switch s {
	case StageUnknown:
		return "unknown"
	case StageDNS:
		return "dns"
	case StageConnect:
		return "connect"
	case StageGreeting:
		return "greeting"
	case StageEHLO:
		return "ehlo"
	case StageTLS:
		return "tls"
	case StageAuth:
		return "auth"
	case StageMail:
		return "mail"
	case StageRcpt:
		return "rcpt"
	case StageData:
		return "data"
	case StageDot:
		return "dot"
	case StageQueue:
		return "queue"
	}
	return "stage_" + strconv.Itoa(int(s))
}

// Reply is what the server said. The zero Reply means it said nothing.
type Reply struct {
	// Code is the three digits (RFC 5321 §4.2).
	Code int
	// Enhanced is the enhanced status code such as "5.1.1" (RFC 3463); empty
	// when the reply had none.
	Enhanced string
	// Text is the rest, lines joined by "\n".
	Text string
}

// Cause is why an attempt ended without a reply of the server.
type Cause int

// The causes.
const (
	// NoCause: the server replied.
	NoCause Cause = iota
	// DNSFailure: no usable answer; it may come later.
	DNSFailure
	// NoDomain: the domain does not exist.
	NoDomain
	// NullMX: the domain takes no mail (RFC 7505).
	NullMX
	// NoHost: the domain has no address to send to.
	NoHost
	// Loop: the best host is this one.
	Loop
	// Unreachable: no connection came about.
	Unreachable
	// Lost: the connection broke or a timeout passed.
	Lost
	// BrokenTLS: the handshake failed.
	BrokenTLS
	// Desync: what came was no SMTP reply.
	Desync
	// NoUTF8: the mail needs SMTPUTF8 and the host lacks it (RFC 6531).
	NoUTF8
	// TooLarge: the mail is larger than the host's SIZE (RFC 1870).
	TooLarge
	// Crowded: the site's queue here was full; the mail was not tried.
	Crowded
	// Internal: our own fault, such as a key that cannot sign.
	Internal
)

// Failure is the evidence.
type Failure struct {
	// Stage is where it happened.
	Stage Stage
	// Reply is what the server said; zero when Cause says why it did not.
	Reply Reply
	// Cause is why there was no reply.
	Cause Cause
}

// Verdict is the judgement.
type Verdict struct {
	// Category is the class.
	Category Category
	// Party is whose fault it is.
	Party Party
	// Hard is true when trying again cannot help.
	Hard bool
	// NextHost is true when another MX host may do better at once.
	NextHost bool
	// RetryAfter is how long the server asked to wait; 0 when it did not.
	RetryAfter time.Duration
	// Code is the enhanced status code to report when the server sent none.
	Code string
}

// Classify judges a failure.
func Classify(f Failure) Verdict {
	if f.Reply.Code == 0 {
		return byCause(f)
	}
	v := byReply(f.Stage, f.Reply)
	v.Code = f.Reply.Enhanced
	switch {
	case f.Stage <= StageTLS || f.Reply.Code == 421:
		// Nothing was said about this mail yet: another host may take it, and
		// if none does it waits. A reply of 421 closes the session wherever it
		// comes (RFC 5321 §3.8).
		v.Hard, v.NextHost = false, true
		if v.Category == InvalidRecipient {
			v.Category, v.Party = Other, Receiver
		}
	case f.Stage == StageAuth:
		// A login refused is our configuration, not the mail.
		v = Verdict{Category: Auth, Party: Sender, NextHost: true, Code: v.Code}
	}
	if v.Hard {
		return v
	}
	v.RetryAfter = Hint(f.Reply.Text)
	if v.RetryAfter == 0 && v.Category == Greylisted {
		v.RetryAfter = GreylistWait
	}
	return v
}

func byCause(f Failure) Verdict {
	switch f.Cause {
	case DNSFailure:
		return Verdict{Category: DNS, Party: Receiver, Code: "4.4.3"}
	case NoDomain:
		return Verdict{Category: DNS, Party: Recipient, Hard: true, Code: "5.1.2"}
	case NullMX:
		return Verdict{Category: DNS, Party: Recipient, Hard: true, Code: "5.1.10"}
	case NoHost:
		return Verdict{Category: DNS, Party: Recipient, Hard: true, Code: "5.4.4"}
	case Loop:
		return Verdict{Category: DNS, Party: Receiver, Hard: true, Code: "5.4.6"}
	case Unreachable:
		return Verdict{Category: Network, Party: Receiver, NextHost: true, Code: "4.4.1"}
	case BrokenTLS:
		return Verdict{Category: TLS, Party: Receiver, NextHost: true, Code: "4.7.5"}
	case Desync:
		return Verdict{Category: Protocol, Party: Receiver, NextHost: f.Stage < StageDot, Code: "4.5.0"}
	case NoUTF8:
		return Verdict{Category: Policy, Party: Receiver, Hard: true, NextHost: true, Code: "5.6.7"}
	case TooLarge:
		return Verdict{Category: Policy, Party: Sender, Hard: true, NextHost: true, Code: "5.3.4"}
	case Crowded:
		return Verdict{Category: RateLimited, Party: Nobody, Code: "4.3.2"}
	case Internal:
		return Verdict{Category: Other, Party: Sender, Code: "4.3.0"}
	case NoCause, Lost:
	}
	return Verdict{Category: Network, Party: Receiver, NextHost: f.Stage < StageDot, Code: "4.4.2"}
}
