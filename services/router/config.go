package router

import (
	"errors"
	"fmt"
	"time"

	"kurir.dev/kit/conf"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/rpc"
	"kurir.dev/services/router/internal/crowd"
	"kurir.dev/services/router/internal/waiting"
)

// Config is what an operator may set; Default is a working one.
type Config struct {
	// GRPC is where RouterService listens.
	GRPC rpc.ServerConfig `yaml:"grpc"`
	// Auth names the API keys; without keys the service is open to whoever
	// TLS lets in.
	Auth rpc.AuthConfig `yaml:"auth"`
	// Store is the database.
	Store Store `yaml:"store"`
	// Lanes are the lanes mail can travel, by rank.
	Lanes lane.Set `yaml:"lanes"`
	// Admission bounds what is taken.
	Admission Admission `yaml:"admission"`
	// Overflow keeps one tenant's backlog out of the way of all others.
	Overflow Overflow `yaml:"overflow"`
	// Idempotency is about the callers' keys.
	Idempotency Idempotency `yaml:"idempotency"`
	// Waiting bounds the way out of the waiting room.
	Waiting Waiting `yaml:"waiting"`
	// Groups names the consumer groups.
	Groups Groups `yaml:"groups"`
	// Gate shares the processors among the lanes; a gate shared with other
	// services of the process has its own.
	Gate gate.Config `yaml:"gate"`
	// Drain bounds the stop of the service.
	Drain time.Duration `yaml:"drain"`
}

// Store is the database.
type Store struct {
	// URL is "sqlite:/path/router.db" or "postgres://...".
	URL string `yaml:"url"`
}

// Admission bounds what is taken into custody.
type Admission struct {
	// MaxInFlight is how many submissions are worked on at once; more are
	// refused and told to come back. Each lane but the lowest has some places
	// beyond these of its own: the first an eighth as many, the others a
	// sixteenth.
	MaxInFlight int `yaml:"max_in_flight"`
	// MaxBytesInFlight is how many bytes of mail are worked on at once, with
	// the same parts beyond it.
	MaxBytesInFlight int `yaml:"max_bytes_in_flight"`
	// StreamWindow is how many items of one SubmitStream are worked on at once.
	StreamWindow int `yaml:"stream_window"`
	// MaxMailBytes is the largest mail taken. It must leave room in a broker
	// record for the rest of the envelope: 64 KiB is enough.
	MaxMailBytes int `yaml:"max_mail_bytes"`
	// MaxAhead is how far ahead a mail can be scheduled.
	MaxAhead time.Duration `yaml:"max_ahead"`
}

// Idempotency is about the callers' keys.
type Idempotency struct {
	// Window is how long a key is remembered, at least.
	Window time.Duration `yaml:"window"`
	// Landing is how long after it was begun a submission may still reach its
	// lane, which is how far a lane is searched for one that did not finish; at
	// least the broker's produce_timeout.
	Landing time.Duration `yaml:"landing"`
	// Sweep is how often keys that a crash left pending are looked into.
	Sweep time.Duration `yaml:"sweep"`
}

// Overflow keeps one tenant's backlog out of the way of all others.
type Overflow = crowd.Config

// Waiting bounds the way out of the waiting room.
type Waiting = waiting.Config

// Groups names consumer groups.
type Groups struct {
	// Deferred is the group in which routers read deferred mail; a dot and the
	// lane follow.
	Deferred string `yaml:"deferred"`
	// Dispatcher is the group in which dispatchers read the lanes; the depth
	// of lanes is told by it. "%s" stands for the lane.
	Dispatcher string `yaml:"dispatcher"`
}

// Default is a configuration for one machine.
func Default() Config {
	return Config{
		GRPC:  rpc.ServerConfig{Listen: "127.0.0.1:7420"},
		Store: Store{URL: "sqlite:kurir-router.db"},
		Lanes: lane.Default(),
		Admission: Admission{
			MaxInFlight: 2048, MaxBytesInFlight: 64 << 20, StreamWindow: 256, MaxMailBytes: 960 << 10, MaxAhead: 90 * 24 * time.Hour,
		},
		Overflow:    crowd.Default(),
		Idempotency: Idempotency{Window: 7 * 24 * time.Hour, Landing: 15 * time.Second, Sweep: time.Minute},
		Waiting:     waiting.Default(),
		Groups:      Groups{Deferred: "kurir.router", Dispatcher: "kurir.dispatcher.%s"},
		Drain:       20 * time.Second,
	}
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	faults := []error{conf.Under("grpc", c.GRPC.Validate()), c.Lanes.Validate(), conf.Under("waiting", c.Waiting.Validate()), conf.Under("overflow", c.Overflow.Validate()), conf.Under("gate", c.Gate.Validate())}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(c.Store.URL != "", "store.url: must be given")
	check(c.Admission.MaxInFlight > 0, "admission.max_in_flight: must be positive")
	check(c.Admission.MaxBytesInFlight >= c.Admission.MaxMailBytes, "admission.max_bytes_in_flight: must be at least max_mail_bytes")
	check(c.Admission.StreamWindow > 0, "admission.stream_window: must be positive")
	check(c.Admission.MaxMailBytes > 0, "admission.max_mail_bytes: must be positive")
	check(c.Admission.MaxAhead > 0, "admission.max_ahead: must be positive")
	check(c.Idempotency.Window >= time.Hour, "idempotency.window: must be at least 1h")
	check(c.Idempotency.Landing >= time.Second, "idempotency.landing: must be at least 1s")
	check(c.Idempotency.Sweep > 0, "idempotency.sweep: must be positive")
	check(c.Groups.Deferred != "", "groups.deferred: must be given")
	check(c.Groups.Dispatcher != "", "groups.dispatcher: must be given")
	check(c.Drain > 0, "drain: must be positive")
	return errors.Join(faults...)
}
