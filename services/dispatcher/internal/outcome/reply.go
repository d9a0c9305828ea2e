package outcome

import "strings"

// byReply judges a negative reply by its words and codes alone.
func byReply(stage Stage, r Reply) Verdict {
	hard := r.Code >= 500
	text := strings.ToLower(strings.Join(strings.Fields(r.Text), " "))
	for _, rule := range rules() {
		if rule.matches(text) {
			return rule.verdict(hard)
		}
	}
	if v, ok := byEnhanced(r.Enhanced, hard); ok {
		return v
	}
	return byCode(stage, r.Code, hard)
}

// byEnhanced reads an enhanced status code (RFC 3463 §3, and the registry of
// RFC 5248). The class digit is not looked at: the basic code decides.
func byEnhanced(code string, hard bool) (Verdict, bool) {
	_, rest, ok := strings.Cut(code, ".")
	if !ok {
		return Verdict{}, false
	}
	v := Verdict{Hard: hard, Party: Receiver}
	switch rest {
	case "1.0", "1.1", "1.3", "1.6", "1.9":
		v.Category, v.Party = InvalidRecipient, Recipient
	case "1.2", "1.10":
		v.Category, v.Party = DNS, Recipient
	case "1.7", "1.8", "7.27":
		v.Category, v.Party = Policy, Sender
	case "2.1":
		v.Category, v.Party = InvalidRecipient, Recipient
	case "2.2":
		v.Category, v.Party, v.Hard = MailboxFull, Recipient, false
	case "2.3", "3.4":
		v.Category, v.Party = Policy, Sender
	case "3.2", "4.5":
		v.Category, v.Hard = RateLimited, false
	case "4.3":
		v.Category = DNS
	case "4.1", "4.2", "4.4":
		v.Category = Network
	case "4.6", "4.7":
		v.Category = Policy
	case "5.0", "5.1", "5.2", "5.4", "5.5":
		v.Category, v.Party = Protocol, Sender
	case "5.3":
		v.Category, v.Hard = RateLimited, false
	case "6.7", "6.9":
		v.Category = Policy
	case "7.10", "7.11":
		v.Category, v.Party = TLS, Sender
	case "7.8", "7.9", "7.20", "7.21", "7.22", "7.23", "7.24", "7.25", "7.26", "7.29":
		v.Category, v.Party = Auth, Sender
	case "7.28":
		v.Category, v.Party, v.Hard = RateLimited, Sender, false
	default:
		return bySubject(rest, v)
	}
	return v, true
}

// bySubject reads the second digit alone (RFC 3463 §4), for the many codes
// providers invent, such as 5.7.511.
func bySubject(rest string, v Verdict) (Verdict, bool) {
	subject, _, _ := strings.Cut(rest, ".")
	switch subject {
	case "3":
		v.Category = Other
	case "4":
		v.Category = Network
	case "5":
		v.Category, v.Party = Protocol, Sender
	case "6", "7":
		v.Category, v.Party = Policy, Sender
	default:
		return Verdict{}, false
	}
	return v, true
}

// byCode reads the basic code where nothing better is known.
//
// A bare 550 is about the recipient only in the answer to RCPT: before, it is
// about the sender, and after DATA about the content.
func byCode(stage Stage, code int, hard bool) Verdict {
	v := Verdict{Hard: hard, Category: Other, Party: Receiver}
	switch code {
	case 421, 451:
	case 450:
		v.Party = Recipient
	case 452:
		v.Category = RateLimited
	case 500, 501, 502, 503, 504, 555:
		v.Category, v.Party = Protocol, Sender
	case 530, 534, 535, 538:
		v.Category, v.Party = Auth, Sender
	case 550, 551, 553:
		v.Category, v.Party = Policy, Sender
		if stage == StageRcpt {
			v.Category, v.Party = InvalidRecipient, Recipient
		}
	case 552:
		v.Category, v.Party = Policy, Sender
	case 554, 556:
		v.Category, v.Party = Policy, Sender
	default:
		if code < 400 {
			// A positive reply where none of its kind was due.
			v.Category, v.Hard = Protocol, false
		}
	}
	return v
}
