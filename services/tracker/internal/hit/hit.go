// Package hit tells people from machines among those who fetch the pixel and
// follow the links of a mail.
//
// Much of what opens a mail is no reader: image proxies fetch ahead, scanners
// follow every link within a second of delivery, link previews and command
// line tools announce themselves. Classify says which it takes a request for,
// and why; it never refuses one.
package hit

import (
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Class is who fetched; numbered as in the interface.
type Class int

// The classes.
const (
	NoClass Class = iota
	Human
	Machine
)

// The reasons beside those of known agents.
const (
	Browser   = "browser"          // nothing speaks against a person
	Head      = "head_request"     // asked for the headers only
	Prefetch  = "prefetch"         // fetched ahead of a person
	NoAgent   = "no_user_agent"    // nothing was said at all
	NoBrowser = "no_browser"       // not how a browser speaks of itself
	TooFast   = "too_fast"         // sooner after delivery than a person reads
	Early     = "before_delivery"  // before the mailbox had the mail
	Privacy   = "privacy_prefetch" // a mail program that fetches everything
)

// Request is what is known of one fetch.
type Request struct {
	Method    string
	UserAgent string
	// Purpose is the Purpose, Sec-Purpose or X-Moz header, whichever is set.
	Purpose string
	At      time.Time
	// DeliveredAt is when the mailbox took the mail; zero when not known.
	DeliveredAt time.Time
	Click       bool // a link, not the pixel
}

// Verdict is a class and why.
type Verdict struct {
	Class  Class
	Reason string
}

// Classify judges a request; within tooFast after delivery nobody reads, 0
// leaves that out.
func Classify(r Request, tooFast time.Duration) Verdict {
	machine := func(reason string) Verdict { return Verdict{Machine, reason} }
	agent := strings.ToLower(strings.TrimSpace(r.UserAgent))
	if r.Method == http.MethodHead {
		return machine(Head)
	}
	if p := strings.ToLower(r.Purpose); strings.Contains(p, "prefetch") || strings.Contains(p, "preview") || strings.Contains(p, "prerender") {
		return machine(Prefetch)
	}
	if agent == "" {
		return machine(NoAgent)
	}
	for _, k := range &known {
		if strings.Contains(agent, k.agent) {
			return machine(k.reason)
		}
	}
	if agent == "mozilla/5.0" { // Apple's Mail Privacy Protection says no more
		return machine(Privacy)
	}
	if !strings.HasPrefix(agent, "mozilla/") && !mailProgram(agent) {
		return machine(NoBrowser)
	}
	if tooFast > 0 && !r.DeliveredAt.IsZero() {
		switch since := r.At.Sub(r.DeliveredAt); {
		case since < -tooFast:
			return machine(Early)
		case since < tooFast:
			return machine(TooFast)
		}
	}
	return Verdict{Human, Browser}
}

// known are parts of the User-Agent of machines, lower case.
var known = [...]struct{ agent, reason string }{
	{"googleimageproxy", "google_image_proxy"},
	{"ggpht.com", "google_image_proxy"},
	{"yahoomailproxy", "yahoo_image_proxy"},
	{"yahoocachesystem", "yahoo_image_proxy"},
	{"barracuda", "scanner"},
	{"mimecast", "scanner"},
	{"proofpoint", "scanner"},
	{"messagelabs", "scanner"},
	{"symantec", "scanner"},
	{"fortinet", "scanner"},
	{"trendmicro", "scanner"},
	{"sophos", "scanner"},
	{"cloudmark", "scanner"},
	{"safelinks", "scanner"},
	{"microsoft office existence discovery", "scanner"},
	{"virustotal", "scanner"},
	{"urldefense", "scanner"},
	{"bingpreview", "link_preview"},
	{"skypeuripreview", "link_preview"},
	{"slackbot", "link_preview"},
	{"facebookexternalhit", "link_preview"},
	{"whatsapp", "link_preview"},
	{"telegrambot", "link_preview"},
	{"twitterbot", "link_preview"},
	{"linkedinbot", "link_preview"},
	{"discordbot", "link_preview"},
	{"headlesschrome", "automation"},
	{"phantomjs", "automation"},
	{"selenium", "automation"},
	{"googlebot", "crawler"},
	{"bot/", "crawler"},
	{"crawler", "crawler"},
	{"spider", "crawler"},
	{"curl/", "tool"},
	{"wget/", "tool"},
	{"python", "tool"},
	{"go-http-client", "tool"},
	{"java/", "tool"},
	{"okhttp", "tool"},
	{"libwww", "tool"},
	{"httpclient", "tool"},
}

// mailProgram knows the mail programs that do not speak as browsers do.
func mailProgram(agent string) bool {
	for _, p := range [...]string{"thunderbird", "outlook", "k-9", "mutt", "evolution", "kmail", "opera/"} {
		if strings.Contains(agent, p) {
			return true
		}
	}
	return false
}

// Network is the client's network with the host's part cut off: /24 of IPv4,
// /48 of IPv6. An invalid address gives "".
func Network(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(a, bits).Masked().String()
}
