package mailaddr

// rule is what a mailbox provider is known to ignore in local parts.
type rule struct {
	domain     string // the provider's one name; "" for the domain itself
	tags, dots bool
}

// ruleOf knows the providers whose habits are published. Other domains are
// taken literally but for case: to guess would merge two people's mailboxes.
func ruleOf(domain string) rule {
	switch domain {
	case "gmail.com", "googlemail.com":
		return rule{domain: "gmail.com", tags: true, dots: true}
	case "outlook.com", "hotmail.com", "live.com", "msn.com",
		"icloud.com", "me.com", "mac.com",
		"fastmail.com", "fastmail.fm",
		"proton.me", "protonmail.com", "pm.me",
		"yandex.com", "yandex.ru", "zoho.com":
		return rule{tags: true}
	}
	return rule{}
}
