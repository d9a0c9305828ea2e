package tracker

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"kurir.dev/kit/conf"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/rpc"
)

// Config is what an operator may set; Default is a working one.
type Config struct {
	// GRPC is where TrackerService listens.
	GRPC rpc.ServerConfig `yaml:"grpc"`
	// Auth names the API keys; without keys the service is open, for development.
	Auth rpc.AuthConfig `yaml:"auth"`
	// HTTP is where readers' mail programs and browsers come to.
	HTTP HTTP `yaml:"http"`
	// Store is the database.
	Store Store `yaml:"store"`
	// Lanes names the lanes whose outcomes are read.
	Lanes []string `yaml:"lanes"`
	// Ingest bounds the reading of events.
	Ingest Ingest `yaml:"ingest"`
	// Hits bounds the recording of opens and clicks.
	Hits Hits `yaml:"hits"`
	// Watch bounds the live streams.
	Watch Watch `yaml:"watch"`
	// Attribution is how long after a click a payment is laid to it.
	Attribution time.Duration `yaml:"attribution"`
	// Drain bounds the stop of the service.
	Drain time.Duration `yaml:"drain"`
}

// Store is the database.
type Store struct {
	// URL is "sqlite:/path/tracker.db" or "postgres://...".
	URL string `yaml:"url"`
}

// HTTP is the public door.
type HTTP struct {
	// Listen is the address, host:port.
	Listen string `yaml:"listen"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// Timeout bounds reading a request, and writing its answer.
	Timeout time.Duration `yaml:"timeout"`
	// Idle bounds how long a connection is kept between requests.
	Idle time.Duration `yaml:"idle"`
}

// Ingest bounds the reading of events.
type Ingest struct {
	// Group is the name under which the broker is shown what is stored, for
	// trimming and lag. Nothing is read by it.
	Group string `yaml:"group"`
	// Batch is the most records stored in one transaction.
	Batch int `yaml:"batch"`
	// Pace is the least time from one transaction to the next. Fewer and
	// larger ones are cheaper, most of all when a mail is accepted and
	// delivered within one; a quiet tracker does not wait for it.
	Pace time.Duration `yaml:"pace"`
	// Lease is how long a replica keeps a partition without renewing.
	Lease time.Duration `yaml:"lease"`
	// MaxWait is how long a fetch waits for records; it delays no record,
	// only the stop.
	MaxWait time.Duration `yaml:"max_wait"`
}

// Hits bounds the recording of opens and clicks.
type Hits struct {
	// Queue is the most hits in memory, waiting to be written; more are
	// dropped and counted.
	Queue int `yaml:"queue"`
	// Spool is the most hits in the store, waiting for the broker; more are
	// dropped and counted.
	Spool int `yaml:"spool"`
	// TooFast is the time after delivery within which a hit is taken for a
	// scanner's; 0 takes none for it.
	TooFast time.Duration `yaml:"too_fast"`
}

// Watch bounds the live streams.
type Watch struct {
	// Poll is how often the store is asked for events that another replica
	// stored.
	Poll time.Duration `yaml:"poll"`
	// Max is the most streams at a time.
	Max int `yaml:"max"`
}

// Default is a configuration for one machine.
func Default() Config {
	return Config{
		GRPC:        rpc.ServerConfig{Listen: "127.0.0.1:7440"},
		HTTP:        HTTP{Listen: "127.0.0.1:7442", Timeout: 10 * time.Second, Idle: time.Minute},
		Store:       Store{URL: "sqlite:kurir-tracker.db"},
		Lanes:       lane.Default().Names(),
		Ingest:      Ingest{Group: "kurir-tracker", Batch: 1000, Pace: 100 * time.Millisecond, Lease: 10 * time.Second, MaxWait: time.Second},
		Hits:        Hits{Queue: 10_000, Spool: 1_000_000, TooFast: time.Second},
		Watch:       Watch{Poll: time.Second, Max: 1000},
		Attribution: 30 * 24 * time.Hour,
		Drain:       20 * time.Second,
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	faults := []error{conf.Under("grpc", c.GRPC.Validate())}
	positive := func(name string, ok bool) {
		if !ok {
			faults = append(faults, fmt.Errorf("%s: must be positive", name))
		}
	}
	if c.Store.URL == "" {
		faults = append(faults, errors.New("store.url: must be given"))
	}
	if len(c.Lanes) == 0 {
		faults = append(faults, errors.New("lanes: at least one must be named"))
	}
	positive("http.timeout", c.HTTP.Timeout > 0)
	positive("http.idle", c.HTTP.Idle > 0)
	if c.Ingest.Group == "" {
		faults = append(faults, errors.New("ingest.group: must be given"))
	}
	positive("ingest.batch", c.Ingest.Batch > 0)
	positive("ingest.pace", c.Ingest.Pace > 0)
	positive("ingest.lease", c.Ingest.Lease > 0)
	positive("ingest.max_wait", c.Ingest.MaxWait > 0)
	positive("hits.queue", c.Hits.Queue > 0)
	positive("hits.spool", c.Hits.Spool > 0)
	positive("watch.poll", c.Watch.Poll > 0)
	positive("watch.max", c.Watch.Max > 0)
	positive("attribution", c.Attribution > 0)
	positive("drain", c.Drain > 0)
	if c.Hits.TooFast < 0 {
		faults = append(faults, errors.New("hits.too_fast: must not be negative"))
	}
	return errors.Join(faults...)
}
