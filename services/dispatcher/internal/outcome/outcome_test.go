package outcome_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"kurir.dev/services/dispatcher/internal/outcome"
)

// Replies as providers and common servers send them, addresses and networks
// replaced by documentation ones.
func TestClassifyReplies(t *testing.T) {
	t.Parallel()
	const (
		mail, rcpt, data, dot = outcome.StageMail, outcome.StageRcpt, outcome.StageData, outcome.StageDot
		greeting              = outcome.StageGreeting
	)
	tests := []struct {
		name     string
		stage    outcome.Stage
		code     int
		enhanced string
		text     string
		category outcome.Category
		party    outcome.Party
		hard     bool
		next     bool
		hint     time.Duration
	}{
		{"gmail no such user", rcpt, 550, "5.1.1", "The email account that you tried to reach does not exist. Please try\ndouble-checking the recipient's email address for typos or\nunnecessary spaces. gsmtp", outcome.InvalidRecipient, outcome.Recipient, true, false, 0},
		{"gmail disabled", rcpt, 550, "5.2.1", "The email account that you tried to reach is disabled. gsmtp", outcome.InvalidRecipient, outcome.Recipient, true, false, 0},
		{"gmail over quota hard code", rcpt, 552, "5.2.2", "The email account that you tried to reach is over quota. Please direct the recipient to clear space", outcome.MailboxFull, outcome.Recipient, false, false, 0},
		{"gmail over quota soft code", rcpt, 452, "4.2.2", "The recipient's inbox is out of storage space and inactive.", outcome.MailboxFull, outcome.Recipient, false, false, 0},
		{"gmail rate to user", rcpt, 450, "4.2.1", "The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered.", outcome.RateLimited, outcome.Sender, false, false, 0},
		{"gmail unusual rate", dot, 421, "4.7.28", "Gmail has detected an unusual rate of unsolicited mail originating from your IP address.", outcome.RateLimited, outcome.Sender, false, true, 0},
		{"gmail spam", dot, 550, "5.7.1", "Our system has detected that this message is likely unsolicited mail. To reduce the amount of spam sent to Gmail, this message has been blocked.", outcome.Spam, outcome.Sender, true, false, 0},
		{"gmail low reputation", dot, 550, "5.7.1", "Our system has detected that this message is likely suspicious due to the very low reputation of the sending IP address. To best protect our users from spam, the message has been blocked.", outcome.Blocked, outcome.Sender, true, false, 0},
		{"gmail unauthenticated", dot, 550, "5.7.26", "This mail has been blocked because the sender is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM.", outcome.Auth, outcome.Sender, true, false, 0},
		{"gmail no ptr", dot, 550, "5.7.25", "The IP address sending this message does not have a PTR record setup, or the corresponding forward DNS entry does not point to the sending IP.", outcome.Policy, outcome.Sender, true, false, 0},
		{"gmail dmarc", dot, 550, "5.7.26", "Unauthenticated email from example.com is not accepted due to domain's DMARC policy.", outcome.Auth, outcome.Sender, true, false, 0},
		{"outlook unavailable", rcpt, 550, "5.5.0", "Requested action not taken: mailbox unavailable (S2017062302).", outcome.InvalidRecipient, outcome.Recipient, true, false, 0},
		{"outlook access denied", rcpt, 550, "5.4.1", "Recipient address rejected: Access denied. [XX.eurprd.prod.example.com]", outcome.InvalidRecipient, outcome.Recipient, true, false, 0},
		{"outlook block list", mail, 550, "5.7.1", "Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).", outcome.Blocked, outcome.Sender, true, false, 0},
		{"outlook banned sender", mail, 550, "5.7.511", "Access denied, banned sender[192.0.2.1]. To request removal from this list", outcome.Blocked, outcome.Sender, true, false, 0},
		{"outlook rate by reputation", mail, 451, "4.7.650", "The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.", outcome.RateLimited, outcome.Sender, false, false, 0},
		{"outlook throttled", rcpt, 451, "4.7.500", "Server busy. Please try again later from [192.0.2.1].", outcome.RateLimited, outcome.Receiver, false, false, 0},
		{"outlook spamhaus", mail, 550, "5.7.1", "Service unavailable, Client host [192.0.2.1] blocked using Spamhaus.", outcome.Blocked, outcome.Sender, true, false, 0},
		{"yahoo deferred", mail, 421, "4.7.0", "[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints", outcome.RateLimited, outcome.Sender, false, true, 0},
		{"yahoo permanently deferred", mail, 553, "5.7.2", "[TSS09] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.", outcome.Blocked, outcome.Sender, true, false, 0},
		{"yahoo no account", dot, 554, "", "delivery error: dd This user doesn't have a yahoo.com account (address) [-5]", outcome.InvalidRecipient, outcome.Recipient, true, false, 0},
		{"yahoo disabled", dot, 554, "", "delivery error: dd Sorry your message cannot be delivered. This account has been disabled or discontinued [#102].", outcome.InvalidRecipient, outcome.Recipient, true, false, 0},
		{"icloud quota", rcpt, 552, "5.2.2", "<(address)>: user is over quota", outcome.MailboxFull, outcome.Recipient, false, false, 0},
		{"icloud blocked", mail, 554, "5.7.1", "[CS01] Message rejected due to local policy.", outcome.Policy, outcome.Sender, true, false, 0},
		{"postfix unknown", rcpt, 550, "5.1.1", "<(address)>: Recipient address rejected: User unknown in virtual mailbox table", outcome.InvalidRecipient, outcome.Recipient, true, false, 0},
		{"postfix unverified", rcpt, 450, "4.1.1", "<(address)>: Recipient address rejected: unverified address: Address verification in progress", outcome.InvalidRecipient, outcome.Recipient, false, false, 0},
		{"postgrey", rcpt, 450, "4.2.0", "<(address)>: Recipient address rejected: Greylisted, see http://postgrey.example.org/help", outcome.Greylisted, outcome.Receiver, false, false, outcome.GreylistWait},
		{"milter greylist clock", rcpt, 451, "4.7.1", "Greylisting in action, please come back in 00:04:59", outcome.Greylisted, outcome.Receiver, false, false, 4*time.Minute + 59*time.Second},
		{"greylist under hard code", rcpt, 550, "", "Graylisted, please try again in 300 seconds", outcome.Greylisted, outcome.Receiver, false, false, 5 * time.Minute},
		{"rspamd greylist", dot, 451, "4.7.1", "Try again later, Greylisted", outcome.Greylisted, outcome.Receiver, false, false, outcome.GreylistWait},
		{"named seconds", rcpt, 450, "4.7.1", "Try again in 60 seconds", outcome.Policy, outcome.Sender, false, false, time.Minute},
		{"postfix relay", rcpt, 554, "5.7.1", "<(address)>: Relay access denied", outcome.Policy, outcome.Sender, true, false, 0},
		{"postfix reverse", rcpt, 450, "4.7.1", "Client host rejected: cannot find your reverse hostname, [192.0.2.1]", outcome.Policy, outcome.Sender, false, false, 0},
		{"postfix dnsbl", rcpt, 554, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", outcome.Blocked, outcome.Sender, true, false, 0},
		{"postfix sender domain", rcpt, 450, "4.1.8", "<(address)>: Sender address rejected: Domain not found", outcome.Policy, outcome.Sender, false, false, 0},
		{"postfix size", mail, 552, "5.3.4", "Message size exceeds fixed limit", outcome.Policy, outcome.Sender, true, false, 0},
		{"postfix storage", mail, 452, "4.3.1", "Insufficient system storage", outcome.RateLimited, outcome.Receiver, false, false, 0},
		{"postfix starttls", mail, 530, "5.7.0", "Must issue a STARTTLS command first", outcome.TLS, outcome.Sender, true, false, 0},
		{"exim unroutable", rcpt, 550, "", "Unrouteable address", outcome.DNS, outcome.Recipient, true, false, 0},
		{"exim no such user", rcpt, 550, "", "No Such User Here", outcome.InvalidRecipient, outcome.Recipient, true, false, 0},
		{"exim verify", rcpt, 550, "", "Sender verify failed", outcome.Policy, outcome.Sender, true, false, 0},
		{"exim local", rcpt, 451, "", "Temporary local problem - please try later", outcome.Other, outcome.Receiver, false, false, 0},
		{"ironport", rcpt, 550, "5.1.0", "Address rejected.", outcome.InvalidRecipient, outcome.Recipient, true, false, 0},
		{"mimecast", rcpt, 451, "", "Internal resources are temporarily unavailable - https://community.example.com/docs/DOC-1369", outcome.Other, outcome.Receiver, false, false, 0},
		{"proofpoint", rcpt, 550, "5.7.1", "Blocked - see https://ipcheck.example.com/?ip=192.0.2.1 for your IP reputation", outcome.Blocked, outcome.Sender, true, false, 0},
		{"gmx dns policy", greeting, 554, "", "gmx.net (mxgmx117) Nemesis ESMTP Service not available. No SMTP service. Bad DNS PTR resource record.", outcome.Policy, outcome.Sender, false, true, 0},
		{"web.de quota", rcpt, 552, "", "Requested mail action aborted: exceeded storage allocation. Quota exceeded. The recipient's mailbox is full", outcome.MailboxFull, outcome.Recipient, false, false, 0},
		{"qq frequency", rcpt, 550, "", "Connection frequency limited. Ip frequency limited, rate limit", outcome.RateLimited, outcome.Sender, false, false, 0},
		{"virus", dot, 554, "5.7.1", "Message contains a virus (Eicar-Test-Signature)", outcome.Spam, outcome.Sender, true, false, 0},
		{"no tls cipher", mail, 530, "5.7.10", "Encryption needed", outcome.TLS, outcome.Sender, true, false, 0},
		{"null mx at receiver", rcpt, 556, "5.1.10", "Recipient address has null MX", outcome.DNS, outcome.Recipient, true, false, 0},
		{"bare 550 to RCPT", rcpt, 550, "", "no", outcome.InvalidRecipient, outcome.Recipient, true, false, 0},
		{"bare 550 to MAIL", mail, 550, "", "no", outcome.Policy, outcome.Sender, true, false, 0},
		{"bare 550 to the dot", dot, 550, "", "no", outcome.Policy, outcome.Sender, true, false, 0},
		{"bare 451", rcpt, 451, "", "", outcome.Other, outcome.Receiver, false, false, 0},
		{"bare 421", data, 421, "", "bye", outcome.Other, outcome.Receiver, false, true, 0},
		{"bad sequence", rcpt, 503, "5.5.1", "Error: need MAIL command", outcome.Protocol, outcome.Sender, true, false, 0},
		{"greeting refuses", greeting, 554, "", "No SMTP service here", outcome.Policy, outcome.Sender, false, true, 0},
		{"greeting busy", greeting, 421, "4.3.2", "Too many concurrent SMTP connections; please try again later.", outcome.RateLimited, outcome.Sender, false, true, 0},
		{"login refused", outcome.StageAuth, 535, "5.7.8", "Authentication credentials invalid", outcome.Auth, outcome.Sender, false, true, 0},
		{"unknown security code", rcpt, 550, "5.7.999", "denied", outcome.Policy, outcome.Sender, true, false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := outcome.Classify(outcome.Failure{Stage: tt.stage, Reply: outcome.Reply{Code: tt.code, Enhanced: tt.enhanced, Text: tt.text}})
			want := outcome.Verdict{Category: tt.category, Party: tt.party, Hard: tt.hard, NextHost: tt.next, RetryAfter: tt.hint, Code: tt.enhanced}
			if got != want {
				t.Errorf("Classify(%s, %d %s %q) = %+v (%s), want %+v (%s)", tt.stage, tt.code, tt.enhanced, tt.text, got, got.Category, want, want.Category)
			}
		})
	}
}

func TestClassifyCauses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		cause    outcome.Cause
		stage    outcome.Stage
		category outcome.Category
		hard     bool
		next     bool
		code     string
	}{
		{outcome.DNSFailure, outcome.StageDNS, outcome.DNS, false, false, "4.4.3"},
		{outcome.NoDomain, outcome.StageDNS, outcome.DNS, true, false, "5.1.2"},
		{outcome.NullMX, outcome.StageDNS, outcome.DNS, true, false, "5.1.10"},
		{outcome.NoHost, outcome.StageDNS, outcome.DNS, true, false, "5.4.4"},
		{outcome.Loop, outcome.StageDNS, outcome.DNS, true, false, "5.4.6"},
		{outcome.Unreachable, outcome.StageConnect, outcome.Network, false, true, "4.4.1"},
		{outcome.Lost, outcome.StageRcpt, outcome.Network, false, true, "4.4.2"},
		{outcome.Lost, outcome.StageDot, outcome.Network, false, false, "4.4.2"},
		{outcome.BrokenTLS, outcome.StageTLS, outcome.TLS, false, true, "4.7.5"},
		{outcome.Desync, outcome.StageMail, outcome.Protocol, false, true, "4.5.0"},
		{outcome.NoUTF8, outcome.StageMail, outcome.Policy, true, true, "5.6.7"},
		{outcome.TooLarge, outcome.StageMail, outcome.Policy, true, true, "5.3.4"},
		{outcome.Crowded, outcome.StageQueue, outcome.RateLimited, false, false, "4.3.2"},
		{outcome.Internal, outcome.StageQueue, outcome.Other, false, false, "4.3.0"},
	}
	for _, tt := range tests {
		got := outcome.Classify(outcome.Failure{Stage: tt.stage, Cause: tt.cause})
		if got.Category != tt.category || got.Hard != tt.hard || got.NextHost != tt.next || got.Code != tt.code {
			t.Errorf("Classify(%s, cause %d) = %+v, want %s hard=%v next=%v %s", tt.stage, tt.cause, got, tt.category, tt.hard, tt.next, tt.code)
		}
	}
}

func TestHint(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want time.Duration
	}{
		{"try again in 60 seconds", time.Minute},
		{"Please try again later in 5 minutes", 5 * time.Minute},
		{"please come back in 00:05:00", 5 * time.Minute},
		{"Greylisted for 300 seconds", 5 * time.Minute},
		{"retry after 120s", 2 * time.Minute},
		{"retry in 1 hour", time.Hour},
		{"Retry time not reached, wait 2 min", 2 * time.Minute},
		{"temporarily deferred (try again after 90 secs)", 90 * time.Second},
		{"try again in 99 hours", 24 * time.Hour},
		{"try again later", 0},
		{"limit is 60 messages per 60 seconds", 0},
		{"", 0},
	}
	for _, tt := range tests {
		if got := outcome.Hint(tt.text); got != tt.want {
			t.Errorf("Hint(%q) = %v, want %v", tt.text, got, tt.want)
		}
	}
}

func TestSanitize(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"<ana@example.com>: user unknown", "<(address)>: user unknown"},
		{"no \"a b\"@example.com\r\nhere", "no (address) here"},
		{"plain\x00text\tand\nlines", "plain text and lines"},
		{"bad \xff byte", "bad ? byte"},
		{"RCPT TO:<b+x@xn--e1afmkfd.example>", "RCPT TO:<(address)>"},
	}
	for _, tt := range tests {
		if got := outcome.Sanitize(tt.in); got != tt.want {
			t.Errorf("Sanitize(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(8, 550, "5.1.1", "user unknown")
	f.Add(3, 421, "4.7.0", "too many connections, try again in 60 seconds")
	f.Add(10, 250, "", "ok")
	f.Fuzz(func(t *testing.T, stage, code int, enhanced, text string) {
		v := outcome.Classify(outcome.Failure{Stage: outcome.Stage(stage), Reply: outcome.Reply{Code: code, Enhanced: enhanced, Text: text}})
		if v.Hard && code != 0 && code < 500 {
			t.Errorf("Classify(%d %q) is hard under a code below 500", code, text)
		}
		if v.Hard && v.RetryAfter != 0 {
			t.Errorf("Classify(%d %q) is hard and asks to retry", code, text)
		}
		if code != 0 && v.Category == outcome.None {
			t.Errorf("Classify(%d %q) has no category", code, text)
		}
	})
}

func FuzzHint(f *testing.F) {
	f.Add("try again in 60 seconds")
	f.Add("come back in 00:05:00")
	f.Fuzz(func(t *testing.T, text string) {
		if got := outcome.Hint(text); got < 0 || got > 24*time.Hour {
			t.Errorf("Hint(%q) = %v, want within a day", text, got)
		}
	})
}

func FuzzSanitize(f *testing.F) {
	f.Add("<a@b.example> unknown\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		got := outcome.Sanitize(text)
		if !utf8.ValidString(got) || len(got) > 400 || strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("Sanitize(%q) = %q, want one printable line", text, got)
		}
	})
}
