package custody

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/topic"
)

// Record is a record read from the broker. Its slices are the receiver's.
type Record struct {
	// Topic, Partition and Offset say where it lies.
	Topic     string
	Partition int
	Offset    int64
	// Band is the band of a lane that the record was handed out of, by
	// [Config.Bands]: what is handed out of the overflow band must not take all
	// there is of anything, for its consumer has ordinary records, too.
	Band topic.Band
	// Key and Value are what was produced; nil for none.
	Key, Value []byte
	// Headers in their order.
	Headers []broker.Header
	// Time the record was produced at, by the producer's clock.
	Time time.Time
}

// size is what the record counts against Config.MaxBytes.
func (r *Record) size() int64 {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

// Handler is what a consumer works for. Its methods are called from one
// goroutine per partition; different partitions call at once.
type Handler interface {
	// Recover takes each journal record of a newly assigned partition, oldest
	// first, before the partition's first Handle, and for a while each that was
	// written since, before records that were given back come again. The
	// record's Partition is the assigned one. It must not block.
	Recover(ctx context.Context, r Record)
	// Handle takes d over. It returns promptly: to apply back-pressure it may
	// block, at most until d.Context() ends. Every d must be completed or
	// abandoned once, from any goroutine.
	Handle(d *Delivery)
	// Revoke says that the partition is gone: forget what was recovered of
	// it. Nothing of the partition is in flight any more, or its context has
	// ended.
	Revoke(partition int)
}

// Presser is a [Handler] that wants to know when a partition stands still for
// what the handler itself holds.
type Presser interface {
	// Press says, with on, that the partition's next record waits until some
	// in flight ends, for the window or the commit metadata is full with them,
	// and without on that it does not wait any more. The calls come in pairs,
	// from the goroutine that calls Handle for the partition. It must not
	// block.
	//
	// Whatever ends makes room in the window; in the metadata most room is made
	// by what was handed out longest ago, for it closes the gaps behind it.
	Press(partition int, on bool)
}

// Config of a consumer. Zero fields mean what [Default] says; Group and Topic
// are needed.
type Config struct {
	// Group is the consumer group, Topic what it consumes.
	Group string `yaml:"group"`
	Topic string `yaml:"topic"`
	// Journal is the topic whose partition of the same number holds what
	// became of the records; empty for none.
	Journal string `yaml:"journal"`
	// MaxRecords bounds the records handed out and not done, over all
	// partitions of this consumer.
	MaxRecords int `yaml:"max_records"`
	// MaxBytes bounds their bytes. One record always passes, of each band.
	MaxBytes int64 `yaml:"max_bytes"`
	// Bands says that the topic has an ordinary and an overflow band: overflow
	// partitions together take half of MaxRecords and MaxBytes at most, so that
	// ordinary records never wait for theirs. A consumer that is dealt no
	// ordinary partition has them take all.
	Bands bool `yaml:"bands"`
	// CommitEvery is how long a completion may wait for its commit.
	CommitEvery time.Duration `yaml:"commit_every"`
	// Drain is how long records in flight may take to end when the partition
	// is lost or the consumer stops.
	Drain time.Duration `yaml:"drain"`
	// Session is the group's session timeout: after so long without a
	// heartbeat others take over.
	Session time.Duration `yaml:"session"`
	// Heartbeat is how often the group hears of us.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// Rebalance is how long the group waits for all members when it deals the
	// partitions anew; more than Drain plus Heartbeat.
	Rebalance time.Duration `yaml:"rebalance"`
	// JournalRewind is how many records more of the journal than needed are
	// read back: so far a new owner recognises a record that is told twice.
	JournalRewind int64 `yaml:"journal_rewind"`
	// StallAfter is how long the broker may leave a fetch unanswered, or hold
	// back a record that exists, before it is asked anew.
	StallAfter time.Duration `yaml:"stall_after"`
}

// Default is a configuration for a lane, group and topics left open.
func Default() Config {
	return Config{
		MaxRecords:    4096,
		MaxBytes:      64 << 20,
		CommitEvery:   200 * time.Millisecond,
		Drain:         5 * time.Second,
		Session:       10 * time.Second,
		Heartbeat:     time.Second,
		Rebalance:     20 * time.Second,
		JournalRewind: 100,
		StallAfter:    30 * time.Second,
	}
}

// defaulted returns c with zero fields filled in.
func (c Config) defaulted() Config {
	d := Default()
	fill(&c.MaxRecords, d.MaxRecords)
	fill(&c.MaxBytes, d.MaxBytes)
	fill(&c.CommitEvery, d.CommitEvery)
	fill(&c.Drain, d.Drain)
	fill(&c.Session, d.Session)
	fill(&c.Heartbeat, d.Heartbeat)
	fill(&c.Rebalance, d.Rebalance)
	fill(&c.JournalRewind, d.JournalRewind)
	fill(&c.StallAfter, d.StallAfter)
	return c
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports everything that is wrong with c, joined.
func (c Config) Validate() error {
	c = c.defaulted()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Group != "", "group: is needed")
	check(c.Topic != "", "topic: is needed")
	check(c.MaxRecords > 0, "max_records: must be positive")
	check(c.MaxBytes > 0, "max_bytes: must be positive")
	check(c.CommitEvery > 0, "commit_every: must be positive")
	check(c.Drain > 0, "drain: must be positive")
	check(c.Heartbeat > 0, "heartbeat: must be positive")
	check(c.Session >= 3*c.Heartbeat, "session: %v is under three heartbeats of %v", c.Session, c.Heartbeat)
	check(c.Rebalance > c.Drain+c.Heartbeat,
		"rebalance: %v leaves no time for a drain of %v and a heartbeat of %v", c.Rebalance, c.Drain, c.Heartbeat)
	check(c.JournalRewind >= 0, "journal_rewind: must not be negative")
	check(c.StallAfter > 0, "stall_after: must be positive")
	return errors.Join(errs...)
}

// Stats is how one assigned partition stands.
type Stats struct {
	// Partition assigned.
	Partition int
	// Watermark is the lowest offset that is not done.
	Watermark int64
	// Next is the offset after the last record handed out.
	Next int64
	// Head is the partition's end, as last seen.
	Head int64
	// Outstanding and OutstandingBytes are handed out and not done.
	Outstanding      int
	OutstandingBytes int64
	// Journal is the journal position of the last commit.
	Journal int64
	// Metadata is how many bytes the metadata of a commit would have now; at
	// mark.MaxBytes nothing more is handed out but what closes gaps.
	Metadata int
}
