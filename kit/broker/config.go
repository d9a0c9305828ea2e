package broker

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"kurir.dev/kit/broker/internal/sock"
	"kurir.dev/kit/conf"
)

// leastRetention is the longest expiry of a lane and a day.
const leastRetention = 8 * 24 * time.Hour

// Config says how to reach the broker and how to write to it. Start from
// [Default]; [Config.Validate] reports every fault at once.
type Config struct {
	// Addrs are the bootstrap addresses, "host:9092" each, or one
	// "unix:/path/kafka.sock" for the embedded broker.
	Addrs []string `yaml:"addrs"`
	// Prefix begins every topic name; empty means "kurir".
	Prefix string `yaml:"prefix"`
	// Partitions is how many partitions topics are created with, lanes and
	// their outcome topics with 2 at least. A topic that exists keeps what it
	// has, but that a lane of 1 gets its second.
	Partitions int `yaml:"partitions"`
	// Replication is the replication factor topics are created with.
	Replication int `yaml:"replication"`
	// Retention is how long a cluster keeps the records of the topics created
	// here, finished or not; longer than a mail may wait. 0 keeps them for
	// ever. The embedded broker does not age records but trims finished ones.
	Retention time.Duration `yaml:"retention"`
	// ProduceTimeout bounds one record's way to its acknowledgement, all
	// retries counted.
	ProduceTimeout time.Duration `yaml:"produce_timeout"`
	// MaxRecordBytes is the largest record, key and headers counted.
	MaxRecordBytes int `yaml:"max_record_bytes"`
	// QueueRecords bounds the records a Producer holds, unacknowledged ones
	// counted; an eighth of them, and of the bytes, is for urgent lanes alone.
	QueueRecords int `yaml:"queue_records"`
	// QueueBytes bounds the bytes a Producer holds.
	QueueBytes int64 `yaml:"queue_bytes"`
	// InFlight bounds the produce requests under way at once, but for those
	// of urgent lanes; 0 means no bound on a cluster, and 1 on a socket. The
	// embedded broker writes partitions side by side, each with a sync of its
	// own, but to one disk and on the processors of its clients: what is not
	// sent yet gathers into larger batches, of which a sync serves more, and
	// stands in nobody's way. Under load a bounded request begins 5 ms after the
	// one before at the earliest.
	InFlight int `yaml:"in_flight"`
	// Urgent are the lanes whose records never wait for others'.
	Urgent []string `yaml:"urgent"`
	// TLS of connections to the broker; the zero value is plaintext.
	TLS TLS `yaml:"tls"`
	// SASL is the login at the broker; the zero value is none.
	SASL SASL `yaml:"sasl"`
}

// TLS of the connections to the broker.
type TLS struct {
	// Enable turns TLS on; the fields below do nothing without it.
	Enable bool `yaml:"enable"`
	// CA is a PEM file of roots; empty means the system's.
	CA string `yaml:"ca"`
	// Cert is a PEM file with the client certificate; empty for none.
	Cert string `yaml:"cert"`
	// Key is the PEM file of its key.
	Key string `yaml:"key"`
	// ServerName overrides the name the broker's certificate must bear.
	ServerName string `yaml:"server_name"`
}

// SASL is a login at the broker.
type SASL struct {
	// Mechanism is "plain", "scram-sha-256" or "scram-sha-512"; empty is no
	// login.
	Mechanism string `yaml:"mechanism"`
	// User is the user name.
	User string `yaml:"user"`
	// Password is the password; `password_file` names a file instead.
	Password conf.Secret `yaml:"password"`
}

// Default is a configuration for one broker on this machine, addresses left
// open.
func Default() Config {
	return Config{
		Partitions:     4,
		Replication:    1,
		Retention:      14 * 24 * time.Hour,
		ProduceTimeout: 10 * time.Second,
		MaxRecordBytes: 1 << 20,
		QueueRecords:   20_000,
		QueueBytes:     64 << 20,
		Urgent:         []string{"otp"},
	}
}

// Validate reports everything that is wrong with c, joined.
func (c Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Addrs) == 0 {
		fault("addrs: at least one broker address is needed")
	}
	for _, a := range c.Addrs {
		if path, ok := strings.CutPrefix(a, sock.Prefix); ok {
			if path == "" || len(c.Addrs) > 1 {
				fault("addrs: %q: a unix socket needs a path and stands alone", a)
			}
		} else if _, _, err := net.SplitHostPort(a); err != nil {
			fault("addrs: %q is neither host:port nor unix:/path", a)
		}
	}
	positive := func(name string, ok bool) {
		if !ok {
			fault("%s: must be positive", name)
		}
	}
	positive("partitions", c.Partitions > 0)
	positive("replication", c.Replication > 0)
	if c.Retention != 0 && c.Retention < leastRetention {
		fault("retention: %v is less than %v, the longest a mail is of use and a day to notice", c.Retention, leastRetention)
	}
	positive("produce_timeout", c.ProduceTimeout > 0)
	positive("max_record_bytes", c.MaxRecordBytes > 0)
	positive("queue_records", c.QueueRecords > 0)
	positive("queue_bytes", c.QueueBytes >= int64(c.MaxRecordBytes))
	if c.InFlight < 0 {
		fault("in_flight: must not be negative")
	}
	switch c.SASL.Mechanism {
	case "", "plain", "scram-sha-256", "scram-sha-512":
	default:
		fault("sasl.mechanism: %q is none of plain, scram-sha-256, scram-sha-512", c.SASL.Mechanism)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		fault("tls: cert and key go together")
	}
	return errors.Join(errs...)
}

// insync is how many replicas must hold a record of a topic made here.
func (c Config) insync() int { return max(1, c.Replication-1) }

// socket returns the path of the unix socket, empty for TCP.
func (c Config) socket() string {
	if len(c.Addrs) == 1 {
		if path, ok := strings.CutPrefix(c.Addrs[0], sock.Prefix); ok {
			return path
		}
	}
	return ""
}
