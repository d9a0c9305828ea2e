package broker

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	// slowAfter is how long a request may stay without an answer before the
	// broker is asked for a sign of life.
	slowAfter = time.Second
	// probeEvery is the pause between such questions, probePatience how long
	// an answer may take.
	probeEvery    = 250 * time.Millisecond
	probePatience = time.Second
	// goneAfter is how long nobody answers before the broker counts as gone:
	// longer than a restart of the embedded broker or a pause of a busy one.
	goneAfter = 2 * time.Second
)

// pulse knows whether the broker is there, from what becomes of requests and,
// while that is in doubt, from pings. A cluster is there while any of its
// brokers answers: that a partition has no leader for a moment is no absence.
//
//	well ──no answer──▶ away ──goneAfter──▶ gone
//	  ◀──────────────any answer─────────────┘
//
// Beside that a line is stuck from when a record on it was given up, or the
// broker's disk refused one, until one is acknowledged, or the cluster says that
// the line could take one.
type pulse struct {
	producer *Producer
	tasks    sync.WaitGroup

	mu      sync.Mutex
	probing bool
	slow    int                // requests without an answer for slowAfter
	away    bool               // a request failed without an answer, and nobody answered since
	silence time.Time          // begin of the first ping that failed; zero once any succeeds
	stuck   map[line]error     // why: errFull, or nil when nobody said
	gone    context.Context    //nolint:containedctx // ends when the broker is gone, is renewed when it is back
	leave   context.CancelFunc // ends gone
}

func newPulse(p *Producer) *pulse {
	u := &pulse{producer: p, stuck: make(map[line]error)}
	u.gone, u.leave = context.WithCancel(p.ctx)
	return u
}

// healthy says that records may be expected to be taken.
func (u *pulse) healthy() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.away && len(u.stuck) == 0
}

// present is a context that ends when the broker is gone.
func (u *pulse) present() context.Context {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.gone
}

// watch has the broker asked for a sign of life when a request takes too long;
// done ends that.
func (u *pulse) watch() (done func()) {
	t := time.AfterFunc(slowAfter, func() { u.note(func() { u.slow++ }) })
	return func() {
		if !t.Stop() {
			u.note(func() { u.slow-- })
		}
	}
}

// answered notes that the broker acknowledged records of a line.
func (u *pulse) answered(l line) {
	u.note(func() {
		delete(u.stuck, l)
		u.alive()
	})
}

// unanswered notes a request that failed without an answer.
func (u *pulse) unanswered() { u.note(func() { u.away = true }) }

// gaveUp notes a line that a record was given up on.
func (u *pulse) gaveUp(l line) {
	u.note(func() {
		if _, known := u.stuck[l]; !known {
			u.stuck[l] = nil
		}
	})
}

// refused notes a line whose records the broker's disk does not take.
func (u *pulse) refused(l line) { u.note(func() { u.stuck[l] = errFull }) }

// full says that a line is known to take no records.
func (u *pulse) full(l line) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.stuck[l] != nil
}

// alive notes a sign of life; u.mu is held.
func (u *pulse) alive() {
	u.away, u.silence = false, time.Time{}
	if u.gone.Err() != nil && u.producer.ctx.Err() == nil {
		u.gone, u.leave = context.WithCancel(u.producer.ctx)
	}
}

// note changes what is known, and sees to it that doubt is probed.
func (u *pulse) note(change func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change()
	if u.doubt() && !u.probing {
		u.probing = true
		u.tasks.Go(u.probe)
	}
}

// doubt says that there is something to find out; u.mu is held.
func (u *pulse) doubt() bool {
	return u.producer.ctx.Err() == nil && (u.away || u.slow > 0 || len(u.stuck) > 0)
}

// probe asks for signs of life until there is no doubt.
func (u *pulse) probe() {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for u.doubtful() {
		began := time.Now()
		ctx, cancel := context.WithTimeout(u.producer.ctx, probePatience)
		err := u.producer.client.Ping(ctx)
		cancel()
		u.heard(began, err)
		if err == nil {
			u.unstick()
		}
		select {
		case <-tick.C:
		case <-u.producer.ctx.Done():
		}
	}
}

// doubtful ends the probing when there is no doubt any more.
func (u *pulse) doubtful() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.probing = u.doubt()
	return u.probing
}

// heard notes what became of a ping.
func (u *pulse) heard(began time.Time, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err == nil:
		u.alive()
		return
	case u.producer.ctx.Err() != nil:
		return
	case u.silence.IsZero():
		u.silence = began
	}
	u.away = true
	if time.Since(u.silence) >= goneAfter {
		u.leave()
	}
}

// unstick frees the lines on which nothing waits, so that nothing can show it,
// and which the cluster says could take a record.
func (u *pulse) unstick() {
	u.mu.Lock()
	stuck := slices.Collect(maps.Keys(u.stuck))
	u.mu.Unlock()
	for _, l := range stuck {
		if u.producer.busy(l) {
			continue
		}
		ctx, cancel := context.WithTimeout(u.producer.ctx, probePatience)
		ok := u.producer.client.writable(ctx, l)
		cancel()
		if ok {
			u.note(func() { delete(u.stuck, l) })
		}
	}
}

// writable says whether the partition can take records.
func (c *Client) writable(ctx context.Context, l line) bool {
	return c.sound(ctx, []string{l.topic}, func(partition int) bool { return partition == l.partition })
}

// takes says whether all partitions of the topics can take records.
func (c *Client) takes(ctx context.Context, topics []string) bool {
	return len(topics) == 0 || c.sound(ctx, topics, func(int) bool { return true })
}

// sound says whether those partitions of topics that are asked about exist, have
// a leader and, as far as topics are made here, replicas enough in sync to take
// records.
func (c *Client) sound(ctx context.Context, topics []string, about func(partition int) bool) bool {
	if c.Refresh(ctx) != nil {
		return false
	}
	md, err := c.kafka.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		return false
	}
	seen := 0
	for _, t := range md.Topics {
		found := false
		for _, p := range t.Partitions {
			if !about(p.ID) {
				continue
			}
			if t.Error != nil || p.Error != nil || len(p.Isr) < min(c.cfg.insync(), len(p.Replicas)) {
				return false
			}
			found = true
		}
		if found {
			seen++
		}
	}
	return seen == len(topics)
}
