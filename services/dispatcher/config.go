package dispatcher

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"kurir.dev/kit/conf"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/rpc"
	"kurir.dev/services/dispatcher/internal/dkim"
	"kurir.dev/services/dispatcher/internal/dns"
	"kurir.dev/services/dispatcher/internal/route"
	"kurir.dev/services/dispatcher/internal/sandbox"
	"kurir.dev/services/dispatcher/internal/session"
	"kurir.dev/services/dispatcher/internal/site"
)

// Config is what an operator may set; Default is a working one that keeps all
// mail in the sandbox inbox.
type Config struct {
	// GRPC is where DispatcherService listens.
	GRPC rpc.ServerConfig `yaml:"grpc"`
	// Auth names the API keys; without keys the service is open to whoever
	// TLS lets in.
	Auth rpc.AuthConfig `yaml:"auth"`
	// Lanes names the lanes served here; empty serves all.
	Lanes []string `yaml:"lanes"`
	// LaneTable describes every lane of the installation, by rank.
	LaneTable lane.Set `yaml:"lane_table"`
	// Group is the consumer groups' name; "%s" stands for the lane.
	Group string `yaml:"group"`
	// Budgets bound what each lane may hold and do here; a lane not named
	// takes the default. They are separate: no lane can use another's.
	Budgets map[string]Budget `yaml:"budgets"`
	// Lease tunes the consumers.
	Lease Lease `yaml:"lease"`
	// Routes are tried in order; mail that matches none goes to the sandbox.
	Routes []Route `yaml:"routes"`
	// DNS is how hosts are found.
	DNS dns.Config `yaml:"dns"`
	// Sites bounds what a destination may have.
	Sites site.Config `yaml:"sites"`
	// SMTP is how sessions are held.
	SMTP session.Config `yaml:"smtp"`
	// Gate shares the processors among the lanes; a gate shared with other
	// services of the process goes before it.
	Gate gate.Config `yaml:"gate"`
	// DKIM says which domains are signed for.
	DKIM dkim.Config `yaml:"dkim"`
	// Sandbox is the sandbox inbox; it runs when a route can lead to it.
	Sandbox sandbox.Config `yaml:"sandbox"`
	// Drain bounds the stop of the service; more than Lease.Drain.
	Drain time.Duration `yaml:"drain"`
}

// Route is one way mail may leave.
type Route = route.Rule

// Match says which mail takes a route.
type Match = route.Match

// The types of routes.
const (
	// RouteMX delivers to the domain's mail hosts.
	RouteMX = route.MX
	// RouteSmartHost hands everything to a relay.
	RouteSmartHost = route.SmartHost
	// RouteLMTP delivers to a local mailbox server.
	RouteLMTP = route.LMTP
	// RouteSandbox keeps mail in the sandbox inbox.
	RouteSandbox = route.Sandbox
)

// DKIMDomain is one signing domain.
type DKIMDomain = dkim.Domain

// SiteRule is what some destinations may have.
type SiteRule = site.Rule

// Budget bounds one lane.
type Budget struct {
	// Outstanding is how many mails it may hold in memory; those of tenants
	// with a long backlog, in the overflow band, half as many at most.
	Outstanding int `yaml:"outstanding"`
	// Bytes is how many bytes of them.
	Bytes int64 `yaml:"bytes"`
	// Workers is how many deliveries it may have under way.
	Workers int `yaml:"workers"`
	// Lookups is how many mails may wait for DNS before the lane itself does,
	// and half as many of the overflow band; a lane that retries inline never
	// waits for it.
	Lookups int `yaml:"lookups"`
}

// Lease tunes the consumers of the lanes; zero fields take their defaults. A
// stop waits for up to Drain, and so does a rebalance, for which the partition
// stands still: lanes that retry inline wait 5 s of 20 s, for their mail cannot
// stand still, all others 30 s of 60 s, for hosts that take long over the dot.
type Lease struct {
	// CommitEvery is how long a completion may wait for its commit.
	CommitEvery time.Duration `yaml:"commit_every"`
	// Drain is how long mail on the wire may take to end when a lease is given
	// up.
	Drain time.Duration `yaml:"drain"`
	// Session is after how long of silence another takes over.
	Session time.Duration `yaml:"session"`
	// Heartbeat is how often the group hears of us.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// Rebalance is how long the group waits for all members; more than Drain.
	Rebalance time.Duration `yaml:"rebalance"`
	// JournalRewind is how many outcomes more than needed a new owner of a
	// partition reads back, to know the mails whose records were produced
	// twice; 0 means 4096, which a takeover reads in a blink. More cost time at
	// each.
	JournalRewind int64 `yaml:"journal_rewind"`
}

// of fills in what is not set, as the lane needs it.
func (c Lease) of(l lane.Lane) Lease {
	if l.Inline {
		c.Drain = cmp.Or(c.Drain, 5*time.Second)
	} else {
		c.Drain = cmp.Or(c.Drain, 30*time.Second)
	}
	c.Rebalance = cmp.Or(c.Rebalance, max(20*time.Second, 2*c.Drain))
	c.JournalRewind = cmp.Or(c.JournalRewind, 4096)
	return c
}

// DefaultBudget is that of a lane which has none of its own.
func DefaultBudget() Budget {
	return Budget{Outstanding: 4000, Bytes: 64 << 20, Workers: 200, Lookups: 1000}
}

// Default is a configuration for one machine.
func Default() Config {
	return Config{
		GRPC:      rpc.ServerConfig{Listen: "127.0.0.1:7430"},
		LaneTable: lane.Default(),
		Group:     "kurir.dispatcher.%s",
		DNS:       dns.Default(),
		Sites:     site.Default(),
		SMTP:      session.Default(),
		DKIM:      dkim.Config{Generate: true},
		Sandbox:   sandbox.Default(),
		Drain:     45 * time.Second,
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	faults := []error{
		conf.Under("grpc", c.GRPC.Validate()), c.LaneTable.Validate(), c.DNS.Validate(), c.Sites.Validate(),
		c.SMTP.Validate(), c.DKIM.Validate(), conf.Under("gate", c.Gate.Validate()), c.Sandbox.Validate(),
	}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for _, name := range c.Lanes {
		_, ok := c.LaneTable.Lookup(name)
		check(ok, "lanes: %q is not in lane_table", name)
	}
	for name, b := range c.Budgets {
		_, ok := c.LaneTable.Lookup(name)
		check(ok, "budgets: %q is not in lane_table", name)
		check(b.Outstanding > 0 && b.Bytes > 0 && b.Workers > 0 && b.Lookups > 0, "budgets.%s: every bound must be above 0", name)
	}
	_, err := route.New(c.Routes)
	faults = append(faults, err)
	check(c.Group != "", "group: must be given")
	check(c.Drain > 0, "drain: must be positive")
	for _, l := range c.served() {
		lease := c.Lease.of(l)
		check(c.Drain <= 0 || c.Drain > lease.Drain, "drain: %v leaves lane %s no time for its lease's drain of %v", c.Drain, l.Name, lease.Drain)
		check(lease.Rebalance > lease.Drain, "lease.rebalance: %v leaves lane %s no time to drain for %v", lease.Rebalance, l.Name, lease.Drain)
	}
	return errors.Join(faults...)
}

// served are the lanes of this dispatcher, by rank.
func (c Config) served() lane.Set {
	if len(c.Lanes) == 0 {
		return c.LaneTable
	}
	var set lane.Set
	for _, l := range c.LaneTable {
		for _, name := range c.Lanes {
			if l.Name == name {
				set = append(set, l)
			}
		}
	}
	return set
}

// group is the consumer group of a lane.
func (c Config) group(lane string) string { return strings.ReplaceAll(c.Group, "%s", lane) }

func (c Config) budget(name string) Budget {
	if b, ok := c.Budgets[name]; ok {
		return b
	}
	return DefaultBudget()
}
