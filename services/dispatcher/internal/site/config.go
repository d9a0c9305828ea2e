package site

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Config bounds what a site may have.
type Config struct {
	// Connections is the most sessions a site may have.
	Connections int `yaml:"connections"`
	// Initial is how many it begins with; each mail delivered allows one more
	// until Connections is reached, a connection that fails halves them.
	Initial int `yaml:"initial"`
	// Reserved of Connections are for the highest lane alone.
	Reserved int `yaml:"reserved"`
	// Spare of the connections that the lower lanes share are left for tenants
	// that have fewer than Spare under way in their lane, so that one with much
	// mail does not keep the others waiting; a quarter of them at most.
	Spare int `yaml:"spare"`
	// Rate is how many mails a second a site is sent at most, with bursts of
	// one second's worth; 0 is no limit.
	Rate float64 `yaml:"rate"`
	// ReservedRate in percent of a second's worth is left by the lower lanes
	// for bursts of the highest.
	ReservedRate int `yaml:"reserved_rate"`
	// Rules are for sites of their own; the first that fits counts. Connections
	// and rates hold for all dispatchers together: each takes its part by the
	// live members of the consumer groups, but never less than a connection.
	Rules []Rule `yaml:"rules"`
	// Warm keeps connections for the highest lane open.
	Warm Warm `yaml:"warm"`
	// Queue is how many mails of one lane a slow site keeps here when the
	// lane's window is filling up; the others are sent to the waiting room
	// until their estimated turn, so that they hide no mail for faster sites.
	Queue int `yaml:"queue"`
	// Patience is from how long an estimated turn a site is slow; a tenth of it
	// for a site that a rate holds back.
	Patience time.Duration `yaml:"patience"`
	// Forget is how long a site without mail and sessions is remembered.
	Forget time.Duration `yaml:"forget"`
}

// Rule is what some sites may have.
type Rule struct {
	// Site is a site's name, as ListSites shows it, or "*.example.org" for all
	// that end so.
	Site string `yaml:"site"`
	// Connections is the most sessions; 0 takes the default.
	Connections int `yaml:"connections"`
	// Rate is mails a second; 0 takes the default.
	Rate float64 `yaml:"rate"`
}

func (r Rule) fits(site string) bool {
	if suffix, ok := strings.CutPrefix(r.Site, "*"); ok {
		return strings.HasSuffix(site, suffix)
	}
	return r.Site == site
}

// Warm says which connections are kept open for mail of the highest lane that
// is yet to come: a code then pays for no connection and no handshake.
type Warm struct {
	// Sites is how many sites have such connections, those with most mail of
	// the highest lane; 0 keeps none.
	Sites int `yaml:"sites"`
	// Connections is how many each has.
	Connections int `yaml:"connections"`
	// Every is after how long of silence one says NOOP, or is made anew;
	// less than the idle time of servers, five minutes by RFC 5321 §4.5.3.2.7
	// and much less in practice.
	Every time.Duration `yaml:"every"`
	// Quiet is after how long without mail of the highest lane a site is not
	// kept warm any more.
	Quiet time.Duration `yaml:"quiet"`
}

// Default is fit for a provider that is not known better.
func Default() Config {
	return Config{
		Connections: 20, Initial: 5, Reserved: 4, Spare: 2, ReservedRate: 20, Queue: 200, Patience: 30 * time.Second, Forget: 10 * time.Minute,
		Warm: Warm{Sites: 10, Connections: 2, Every: 20 * time.Second, Quiet: 10 * time.Minute},
	}
}

// Validate reports every fault, joined.
func (c Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(c.Connections >= 1, "sites.connections %d is below 1", c.Connections)
	check(c.Initial >= 1 && c.Initial <= c.Connections, "sites.initial %d is not within 1 and connections", c.Initial)
	check(c.Reserved >= 0 && c.Reserved < c.Connections, "sites.reserved %d is not below connections", c.Reserved)
	check(c.Spare >= 0, "sites.spare %d is below 0", c.Spare)
	check(c.Rate >= 0, "sites.rate %g is below 0", c.Rate)
	check(c.ReservedRate >= 0 && c.ReservedRate < 100, "sites.reserved_rate %d is not within 0 and 99", c.ReservedRate)
	for i, r := range c.Rules {
		check(strings.Trim(r.Site, "*.") != "", "sites.rules[%d].site: must be given", i)
		check(r.Connections >= 0, "sites.rules[%d].connections %d is below 0", i, r.Connections)
		check(r.Rate >= 0, "sites.rules[%d].rate %g is below 0", i, r.Rate)
	}
	check(c.Warm.Sites >= 0, "sites.warm.sites %d is below 0", c.Warm.Sites)
	check(c.Warm.Connections >= 0, "sites.warm.connections %d is below 0", c.Warm.Connections)
	check(c.Warm.Sites == 0 || c.Warm.Every > 0, "sites.warm.every %s is not above 0", c.Warm.Every)
	check(c.Warm.Sites == 0 || c.Warm.Quiet > 0, "sites.warm.quiet %s is not above 0", c.Warm.Quiet)
	check(c.Queue >= 1, "sites.queue %d is below 1", c.Queue)
	check(c.Patience > 0, "sites.patience %s is not above 0", c.Patience)
	check(c.Forget > 0, "sites.forget %s is not above 0", c.Forget)
	return errors.Join(faults...)
}
