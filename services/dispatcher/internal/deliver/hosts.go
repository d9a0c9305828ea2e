package deliver

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kurir.dev/services/dispatcher/internal/dns"
)

// providers are those whose customers have MX hosts of their own names: all of
// them are one site.
func provider(host string) (string, bool) {
	for _, p := range []struct{ suffix, site string }{
		{".mail.protection.outlook.com", "outlook.com"},
		{".olc.protection.outlook.com", "outlook.com"},
		{".google.com", "google.com"},
		{".googlemail.com", "google.com"},
		{".yahoodns.net", "yahoo.com"},
		{".pphosted.com", "pphosted.com"},
		{".mimecast.com", "mimecast.com"},
		{".messagelabs.com", "messagelabs.com"},
		{".zoho.com", "zoho.com"},
		{".mail.icloud.com", "icloud.com"},
	} {
		if strings.HasSuffix(host, p.suffix) {
			return p.site, true
		}
	}
	return "", false
}

const maxSiteName = 120

// siteName rolls a set of hosts up into the name of their site: the provider's
// for a known provider, else "(mx1|mx2).example.com", the same for every
// domain with these hosts, whatever their order.
func siteName(hosts []dns.Host) string {
	if name, ok := provider(hosts[0].Name); ok {
		return name
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	slices.Sort(names)
	if len(names) == 1 {
		return names[0]
	}
	heads := make([]string, len(names))
	_, parent, _ := strings.Cut(names[0], ".")
	for i, n := range names {
		head, rest, _ := strings.Cut(n, ".")
		heads[i] = head
		if rest != parent || parent == "" {
			parent = ""
			break
		}
	}
	name := strings.Join(names, ",")
	if parent != "" {
		name = "(" + strings.Join(heads, "|") + ")." + parent
	}
	if len(name) > maxSiteName {
		name = names[0] + "+" + strconv.Itoa(len(names)-1)
	}
	return name
}

// brokenTLS remembers hosts whose handshake failed: for a while they are
// spoken to in the clear, as mail would otherwise not reach them at all.
type brokenTLS struct {
	mu    sync.Mutex
	until map[string]time.Time
}

const maxBroken = 4096

func (b *brokenTLS) add(host string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.until) >= maxBroken {
		clear(b.until)
	}
	b.until[host] = until
}

func (b *brokenTLS) has(host string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, ok := b.until[host]
	if ok && !now.Before(until) {
		delete(b.until, host)
		return false
	}
	return ok
}
