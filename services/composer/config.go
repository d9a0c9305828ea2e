package composer

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	"kurir.dev/kit/conf"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/mailaddr"
	"kurir.dev/kit/rpc"
)

// DefaultTenant is the tenant whose settings serve, in development, every
// tenant that has none of its own.
const DefaultTenant = "default"

// Config is how a composer works. [Default] is complete; durations and sizes
// must stay positive.
type Config struct {
	// GRPC is where MailService is served.
	GRPC rpc.ServerConfig `yaml:"grpc"`
	// PublicURL is where the tracker is reached from outside, which pixels,
	// click links and unsubscribe links lead to.
	PublicURL string `yaml:"public_url"`
	// Templates is a directory of templates that add to the built-in ones and
	// override them by name, for all tenants; empty has none.
	Templates string `yaml:"templates"`
	// MaxMailBytes bounds a finished mail, headers and encoding included.
	MaxMailBytes int `yaml:"max_mail_bytes"`
	// BatchInFlight is how many mails of one SendBatch are worked on at a time.
	BatchInFlight int `yaml:"batch_in_flight"`
	// Lanes must be those of the router; see kurir.dev/kit/lane.
	Lanes lane.Set `yaml:"lanes"`
	// Gate shares the processors among the lanes; a gate shared with other
	// services of the process has its own.
	Gate gate.Config `yaml:"gate"`
	// Tenants are those who may send, by name.
	Tenants map[string]Tenant `yaml:"tenants"`
	// Drain bounds how long calls under way may take at a stop.
	Drain time.Duration `yaml:"drain"`
}

// Tenant is one sender of mail.
type Tenant struct {
	// Keys are its API keys. When no tenant has any, the composer is open, for
	// development.
	Keys []Key `yaml:"keys"`
	// From is the sender of mail that names none.
	From Sender `yaml:"from"`
	// Domains are those its senders may be in, beside that of From.
	Domains []string `yaml:"domains"`
	// ReturnDomain is the domain of the return path; it must receive mail for
	// bounces to come back.
	ReturnDomain string `yaml:"return_domain"`
	// Locale is the locale of mail that asks for none; empty is id-ID.
	Locale string `yaml:"locale"`
	// Templates is a directory of templates of this tenant alone, over those of
	// Config.Templates; empty has none.
	Templates string `yaml:"templates"`
	// Brand dresses its mail.
	Brand Brand `yaml:"brand"`
	// Untracked leaves pixels and click links out of all its mail.
	Untracked bool `yaml:"untracked"`
}

// Key is an API key of a tenant.
type Key struct {
	// SHA256 is the SHA-256 of the key, in hexadecimal.
	SHA256 string `yaml:"sha256"`
	// Scopes are what it is good for; here "send".
	Scopes []string `yaml:"scopes"`
}

// Sender is a mailbox with a name.
type Sender struct {
	// Email is the mailbox.
	Email string `yaml:"email"`
	// Name is shown beside it; empty shows the mailbox alone.
	Name string `yaml:"name"`
}

// Brand is how a tenant's mail looks.
type Brand struct {
	// Name heads mail that names nobody else; empty takes the name of From.
	Name string `yaml:"name"`
	// Address is the postal address in the footer; empty leaves it out.
	Address string `yaml:"address"`
	// Accent is the colour of buttons, "#1a56db"; empty takes that.
	Accent string `yaml:"accent"`
}

// Default returns the configuration for development: one open tenant, served
// on loopback.
func Default() Config {
	return Config{
		GRPC:          rpc.ServerConfig{Listen: "127.0.0.1:7410"},
		PublicURL:     "http://127.0.0.1:7442",
		MaxMailBytes:  960 << 10, // what a router takes by default
		BatchInFlight: 64,
		Lanes:         lane.Default(),
		Drain:         15 * time.Second,
		Tenants: map[string]Tenant{DefaultTenant: {
			From:         Sender{Email: "no-reply@kurir.example", Name: "Kurir"},
			ReturnDomain: "bounce.kurir.example",
			Locale:       "id-ID",
		}},
	}
}

// Validate returns all that is wrong with c, joined. It reads no file.
func (c Config) Validate() error {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := c.GRPC.Validate(); err != nil {
		faults = append(faults, conf.Under("grpc", err))
	}
	if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		fail("public_url: is no http or https address")
	}
	if c.MaxMailBytes < 1024 || c.MaxMailBytes > 24<<20 {
		fail("max_mail_bytes: is not within 1024 and 25165824")
	}
	if c.BatchInFlight < 1 || c.BatchInFlight > 10_000 {
		fail("batch_in_flight: is not within 1 and 10000")
	}
	if err := c.Gate.Validate(); err != nil {
		faults = append(faults, conf.Under("gate", err))
	}
	if c.Drain <= 0 {
		fail("drain: is not positive")
	}
	if err := c.Lanes.Validate(); err != nil {
		faults = append(faults, err)
	}
	for _, name := range []string{lane.OTP, lane.Billing, lane.Reminder, lane.Bulk} {
		if _, ok := c.Lanes.Lookup(name); !ok {
			fail("lanes: %s is missing, a kind of mail belongs to it", name)
		}
	}
	if len(c.Tenants) == 0 {
		fail("tenants: there is none")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Tenants)) {
		if name == "" || len(name) > 64 {
			fail("tenants: the name %q is empty or longer than 64", name)
		}
		if err := c.Tenants[name].validate(); err != nil {
			fail("tenants.%s: %w", name, err)
		}
	}
	if _, err := rpc.NewAuth(c.auth()); err != nil {
		fail("tenants: %w", err)
	}
	return errors.Join(faults...)
}

// colour is a colour as a style attribute takes it.
var colour = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// validate returns all that is wrong with t, joined.
func (t Tenant) validate() error {
	var faults []error
	if _, err := mailaddr.Parse(t.From.Email); err != nil {
		faults = append(faults, fmt.Errorf("from.email: %w", err))
	}
	if strings.ContainsAny(t.From.Name, "\r\n\x00") {
		faults = append(faults, errors.New("from.name: holds CR, LF or NUL"))
	}
	for i, domain := range t.Domains {
		if _, err := mailaddr.ParseDomain(domain); err != nil {
			faults = append(faults, fmt.Errorf("domains[%d]: %w", i, err))
		}
	}
	if _, err := mailaddr.ParseDomain(t.ReturnDomain); err != nil {
		faults = append(faults, fmt.Errorf("return_domain: %w", err))
	}
	if t.Locale != "" {
		if _, err := language.Parse(t.Locale); err != nil {
			faults = append(faults, errors.New("locale: is no BCP 47 locale"))
		}
	}
	if t.Brand.Accent != "" && !colour.MatchString(t.Brand.Accent) {
		faults = append(faults, errors.New("brand.accent: is no colour such as #1a56db"))
	}
	return errors.Join(faults...)
}

// auth returns the API keys of all tenants, in a stable order.
func (c Config) auth() rpc.AuthConfig {
	var out rpc.AuthConfig
	for _, name := range slices.Sorted(maps.Keys(c.Tenants)) {
		for _, key := range c.Tenants[name].Keys {
			out.Keys = append(out.Keys, rpc.APIKey{Tenant: name, SHA256: key.SHA256, Scopes: key.Scopes})
		}
	}
	return out
}
