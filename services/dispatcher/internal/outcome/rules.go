package outcome

import "strings"

// rule says what words mean. A text matches when it holds one of any and, if
// also is set, one of also.
type rule struct {
	category Category
	party    Party
	// soft makes the failure soft even under a 5xx code.
	soft bool
	any  []string
	also []string
}

func (r rule) matches(text string) bool {
	return holds(text, r.any) && (len(r.also) == 0 || holds(text, r.also))
}

func (r rule) verdict(hard bool) Verdict {
	return Verdict{Category: r.category, Party: r.party, Hard: hard && !r.soft}
}

func holds(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// rules is in order of precedence: the more telling words first. All lower
// case, single spaces.
func rules() []rule {
	return []rule{
		// Full mailboxes are said with 452, 550, 552 and 554 alike, and they
		// empty again.
		{category: MailboxFull, party: Recipient, soft: true, any: []string{
			"over quota", "overquota", "quota exceeded", "exceeded quota", "quota full", "mailbox full",
			"mailbox is full", "inbox is full", "mailbox has exceeded", "out of storage space",
			"insufficient system storage for user", "user has too many messages on the server", "not enough storage space in mailbox", "mailboxfull", "storage quota",
		}},
		{category: Greylisted, party: Receiver, soft: true, any: []string{
			"greylist", "graylist", "grey-list", "gray-list", "greylisting", "postgrey", "first time sender, try",
		}},
		{category: Auth, party: Sender, any: []string{
			"dmarc", "dkim", "spf check", "spf fail", "spf validation", "sender policy framework", "(spf)", " spf ",
			"sender is unauthenticated", "unauthenticated email", "authentication checks", "not pass authentication",
		}},
		{category: TLS, party: Sender, any: []string{
			"must issue a starttls", "starttls is required", "starttls required", "tls required", "encryption required", "encryption needed",
		}},
		{category: Blocked, party: Sender, any: []string{"permanently deferred", "banned sender", "blocked using", "retrying will not succeed"}},
		// Rate limits, ours or the recipient's; nobody limits for ever.
		{category: RateLimited, party: Sender, soft: true, any: []string{
			"rate limit", "rate-limit", "ratelimit", "unusual rate", "too many connections", "too many concurrent", "too many sessions",
			"too many messages", "too many emails", "too many recipients", "too many mails", "receiving mail at a rate", "receiving mail too quickly",
			"throttl", "[tss0", "[ts0", "unexpected volume", "connection limit", "sending limit", "exceeded the maximum number of", "messages per hour",
			"messages per day", "maximum number of connections", "slow down", "exceeds its limit", "maximum concurrent",
		}},
		{category: Blocked, party: Sender, any: []string{
			"spamhaus", "spamcop", "barracudacentral", "sorbs", "uceprotect", "abuseat", "dnsbl", "rbl", "blocklist", "blacklist", "block list", "black list", "blackhole",
			"block listed", "poor reputation", "bad reputation", "low reputation", "reputation", "client host blocked", "banned sending ip", "ip address is blocked", "ip blocked",
			"your ip", "part of their network is on our block", "(s3140)", "(s3150)", "senderscore", "postmaster.live.com/snds", "ipbl", "has been blocked for abuse",
		}, also: []string{
			"block", "black", "list", "reputation", "spamhaus", "spamcop", "barracuda", "sorbs", "banned", "reject", "refus", "denied", "rbl", "dnsbl",
		}},
		{category: Spam, party: Sender, any: []string{
			"spam", "unsolicited", "junk", "bulk mail", "content restriction", "content reject", "message content", "prohibited content", "suspicious content",
			"virus", "malware", "phish", "malicious", "message looks like", "surbl", "uribl", "dbl.", "bad url", "blocked url", "message contains", "banned content",
		}},
		// The sender's address or name, not the recipient's.
		{category: Policy, party: Sender, any: []string{
			"sender address rejected", "sender rejected", "sender verify failed", "sender verification", "invalid sender", "bad sender", "sender denied", "sender domain", "domain of sender address",
			"reverse dns", "reverse hostname", "ptr record", "dns ptr", "rdns", "no ptr", "helo", "fcrdns", "relay access denied", "relaying denied", "relay not permitted", "unable to relay", "not permitted to relay", "relay denied", "we do not relay", "relaying not allowed",
			"message too large", "message too big", "size exceeds", "exceeds size", "message size", "exceeds fixed maximum", "too big", "message exceeds", "line too long", "dsn bodies",
			"bare lf", "bare newline", "headers required", "header", "attachment", "auto-submitted", "administrative prohibition", "not authorized to send", "not allowed to send", "sender not allowed",
			"policy", "due to security", "access denied by", "whitelist", "allowlist", "challenge",
		}},
		{category: InvalidRecipient, party: Recipient, any: []string{
			"user unknown", "unknown user", "no such user", "no such recipient", "no such mailbox", "no such person", "no such address", "no mailbox here", "no mailbox by that name",
			"unknown recipient", "recipient unknown", "recipient not found", "user not found", "mailbox not found", "address not found", "address unknown", "unknown address", "unknown local", "unknown mailbox",
			"does not exist", "doesn't exist", "not exist", "doesn't have a", "does not have a", "invalid recipient", "invalid mailbox", "invalid address", "invalid user", "bad destination mailbox", "bad recipient",
			"recipient rejected", "recipient address rejected", "recipient verify failed", "account disabled", "account is disabled", "account has been disabled", "tried to reach is disabled", "account inactive", "mailbox disabled", "mailbox is disabled", "inactive user", "user disabled", "is inactive", "account suspended", "account closed", "mailbox unavailable", "user invalid",
			"no longer accepting", "no longer valid", "no longer available", "no longer with", "not a valid mailbox", "not a valid recipient", "not our customer", "recipientnotfound", "recipient is not exist", "not listed in", "undeliverable address", "adresse d au moins un destinataire invalide", "mailbox is unavailable", "not a known user", "user doesn't", "user does not",
		}},
		{category: DNS, party: Recipient, any: []string{"host or domain name not found", "domain not found", "unrouteable address", "unroutable address", "no mx record"}},
		// Load and outages of the receiver.
		{category: RateLimited, party: Receiver, soft: true, any: []string{
			"too busy", "system busy", "server busy", "resources restricted", "insufficient system resources", "insufficient system storage", "out of memory", "load average", "temporarily overloaded", "system load",
		}},
		{category: Other, party: Receiver, soft: true, any: []string{
			"try again later", "try later", "temporary failure", "temporarily deferred", "temporarily unavailable", "temporary error", "temporary problem", "internal error", "server error", "service not available", "local error in processing", "lookup failure", "resources temporarily unavailable", "timeout",
		}},
	}
}
