package node

import (
	"path/filepath"

	"kurir.dev/cmd/kurir/mesh"
	"kurir.dev/services/composer"
	"kurir.dev/services/dispatcher"
)

// The ways to sign.
const (
	Unsigned   = ""
	RSA        = "rsa"
	RSAEd25519 = "rsa+ed25519"
)

// Spec is what is particular about a mesh; all else is as `kurir up` has it by
// default, fsync included.
type Spec struct {
	// Data is its directory. What lies there is found again.
	Data string
	// NameServer answers for the world, and Port is where its mail hosts listen.
	NameServer string
	Port       int
	// Sign is how mail is signed.
	Sign string
	// Lanes are those the dispatcher serves; none means all.
	Lanes []string
	// Rates are mails a second that sites get at most.
	Rates map[string]float64
	// Brokers is a Kafka cluster; none runs the embedded broker. Prefix then
	// keeps the topics and groups of one mesh apart from those of others.
	Brokers []string
	Prefix  string
	// Profile is a file for a profile of its processors' use; none for none.
	Profile string
}

// config is the default mesh but for where it listens, where its mail goes and
// what the Spec says.
func (s Spec) config() mesh.Config {
	c := mesh.Default(s.Data)
	c.Ops = mesh.Ops{}
	c.Telemetry.Log.Level = "error"

	const free = "127.0.0.1:0"
	c.Composer.GRPC.Listen, c.Router.GRPC.Listen = free, free
	c.Dispatcher.GRPC.Listen, c.Tracker.GRPC.Listen, c.Tracker.HTTP.Listen = free, free, free

	c.Dispatcher.Lanes = s.Lanes
	c.Dispatcher.Routes = []dispatcher.Route{{Type: dispatcher.RouteMX}}
	c.Dispatcher.DNS.Servers = []string{s.NameServer}
	c.Dispatcher.SMTP.Port, c.Dispatcher.SMTP.AllowLoopback = s.Port, true
	for site, rate := range s.Rates {
		c.Dispatcher.Sites.Rules = append(c.Dispatcher.Sites.Rules, dispatcher.SiteRule{Site: site, Rate: rate})
	}
	c.Dispatcher.SMTP.EHLO = "kurir.example"
	c.Dispatcher.Sandbox.SMTPListen, c.Dispatcher.Sandbox.PageListen = free, ""
	if s.Sign != Unsigned {
		// Default From is in this domain.
		domain := dispatcher.DKIMDomain{Domain: "kurir.example", SelectorRSA: "rsa"}
		if s.Sign == RSAEd25519 {
			domain.SelectorEd25519 = "ed25519"
		}
		c.Dispatcher.DKIM.Dir = filepath.Join(s.Data, "dkim")
		c.Dispatcher.DKIM.Generate = true
		c.Dispatcher.DKIM.Domains = []dispatcher.DKIMDomain{domain}
	}
	if len(s.Brokers) > 0 {
		c.Broker.Addrs, c.Broker.Prefix = s.Brokers, s.Prefix
		c.Dispatcher.Group = s.Prefix + "." + c.Dispatcher.Group
		c.Router.Groups.Dispatcher = c.Dispatcher.Group
		c.Router.Groups.Deferred = s.Prefix + "." + c.Router.Groups.Deferred
		c.Tracker.Ingest.Group = s.Prefix + "." + c.Tracker.Ingest.Group
	}
	return c
}

// DefaultTenant is who calls when a call names nobody.
const DefaultTenant = composer.DefaultTenant
