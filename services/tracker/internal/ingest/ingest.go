// Package ingest reads the events of the mesh from Kafka into the store, each
// exactly once.
//
//  1. The replica takes its share of the partitions by lease (store.Lease) and
//     starts a reader for each, at the offset the store holds. Kafka's groups
//     are not used for this: an offset that is not committed with the rows
//     counts events twice, or not at all.
//  2. Readers fetch records and line up for the writer.
//  3. The writer opens whatever waits, stores it in one transaction with its
//     offsets, and a pace later the next: a batch costs less than its events one
//     by one, and a mail that is accepted and delivered within one is written
//     once. It passes the gate as the lowest lane, for nobody waits for it.
//     Another replica that reads the same partition, or a reader started again,
//     is told apart by the offsets in the store.
//  4. What was stored is also committed to Kafka under a group name, for the
//     broker to trim by and for operators to see; nobody starts from it.
//
// A record that cannot be read goes to the dead topic by way of the outbox, in
// the transaction that passes it. A batch whose data the database refuses is
// halved until the record is found that makes it so, which goes the same way.
// Whatever else goes wrong is tried again: a disk that is full is no record's
// fault.
package ingest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"kurir.dev/kit/app"
	"kurir.dev/kit/backoff"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/record"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/tracker/internal/store"
)

// Config bounds the reading.
type Config struct {
	Lanes   []string      // whose outcomes are read, beside the events topic
	Group   string        // the name offsets are shown under at the broker
	Batch   int           // the most records of one transaction
	Pace    time.Duration // the least time from one transaction to the next
	Lease   time.Duration // of a partition
	MaxWait time.Duration // of a fetch
}

// Store keeps what was read; the tracker's store is one.
type Store interface {
	Ingest(ctx context.Context, records []store.Record, now time.Time, turn store.Turn) (store.Result, error)
	Lease(ctx context.Context, replica string, partitions []store.Partition, now, until time.Time) ([]store.Partition, error)
	Leave(ctx context.Context, replica string) error
	Reset(ctx context.Context, p store.Partition) error
}

// Deps are what an Ingester works with; all but the gate are required.
type Deps struct {
	Telemetry *telemetry.Telemetry
	Broker    *broker.Client
	Codec     *record.Codec
	Store     Store
	Ready     *app.Ready
	Now       func() time.Time
	// Stored is called after each transaction; parcels tells whether it left
	// work for the outbox or the errands. It must not block.
	Stored func(parcels bool)
	// Gate is passed as the lowest lane does; nil yields to nobody.
	Gate *gate.Gate
}

// Ingester reads events into the store.
type Ingester struct {
	Deps
	cfg     Config
	log     *slog.Logger
	tracer  trace.Tracer
	meters  *meters
	replica string
	lined   chan item // from the readers to the writer

	mu      sync.Mutex
	readers map[place]*reader
}

// place names a partition.
type place struct {
	topic     string
	partition int
}

// New makes an Ingester.
func New(deps Deps, cfg Config) *Ingester {
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	in := &Ingester{
		Deps: deps, cfg: cfg, log: deps.Telemetry.Log, tracer: deps.Telemetry.Tracer("kurir.dev/services/tracker/ingest"),
		replica: hex.EncodeToString(id[:]), lined: make(chan item, cfg.Batch), readers: make(map[place]*reader),
	}
	in.meters = newMeters(in)
	in.Ready.Set(readiness, false, "starting")
	return in
}

// readiness is the name of ingestion among what makes the service ready.
const readiness = "ingest"

// Part reads from Start to Stop. It waits for a broker that is away.
func (in *Ingester) Part() app.Part { return app.Loop("ingest", in.run) }

func (in *Ingester) run(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { in.write(ctx) })
	err := in.follow(ctx)
	running.Wait()
	in.stopReaders(nil)
	// ctx has ended: giving the leases back spares the other replicas the wait.
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.cfg.Lease)
	defer cancel()
	if leaveErr := in.Store.Leave(leave, in.replica); leaveErr != nil {
		in.log.WarnContext(ctx, "partitions not given back", slog.Any("error", leaveErr))
	}
	return err
}

// follow keeps readers in step with the leases until ctx ends.
func (in *Ingester) follow(ctx context.Context) error {
	in.Ready.Set(readiness, false, "waiting for the broker")
	err := backoff.Policy{Max: 5 * time.Second}.Retry(ctx, func(ctx context.Context, _ int) error {
		return in.Broker.EnsureTopics(ctx, in.cfg.Lanes)
	}, func(n int, err error) {
		in.Ready.Set(readiness, false, err.Error())
		in.log.WarnContext(ctx, "broker not ready, trying again", slog.Int("attempt", n), slog.Any("error", err))
	})
	if err != nil {
		return err
	}
	tick := time.NewTicker(in.cfg.Lease / 3)
	defer tick.Stop()
	for {
		// Once ready, ingestion stays so: a tracker that lost its broker still
		// answers what it knows, and its pages must not go away.
		if err := in.step(ctx); err == nil {
			in.Ready.Set(readiness, true, "")
		} else if ctx.Err() == nil {
			in.log.ErrorContext(ctx, "looking after partitions failed, trying again", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// step renews the leases and looks after the readers.
func (in *Ingester) step(ctx context.Context) error {
	names := in.topics()
	var all []store.Partition
	for _, name := range names {
		n, err := in.Broker.Partitions(ctx, name)
		if err != nil {
			return err
		}
		for p := range n {
			all = append(all, store.Partition{Topic: name, Partition: p})
		}
	}
	now := in.Now()
	mine, err := in.Store.Lease(ctx, in.replica, all, now, now.Add(in.cfg.Lease))
	if err != nil {
		return err
	}
	keep := make(map[place]bool, len(mine))
	for _, p := range mine {
		keep[place{p.Topic, p.Partition}] = true
	}
	in.stopReaders(keep)
	return errors.Join(in.startReaders(ctx, mine), in.show(ctx))
}

// topics are what is read.
func (in *Ingester) topics() []string {
	names := []string{in.Broker.Topics().Events()}
	for _, l := range in.cfg.Lanes {
		names = append(names, in.Broker.Topics().Outcome(l))
	}
	return names
}

// stopReaders stops the readers of partitions that are not to be kept.
func (in *Ingester) stopReaders(keep map[place]bool) {
	in.mu.Lock()
	var gone []*reader
	for at, r := range in.readers {
		if !keep[at] {
			gone = append(gone, r)
			delete(in.readers, at)
		}
	}
	in.mu.Unlock()
	for _, r := range gone {
		r.cancel()
	}
	for _, r := range gone {
		<-r.done
	}
}

// startReaders starts readers where none runs, and again where one is stuck.
func (in *Ingester) startReaders(ctx context.Context, mine []store.Partition) error {
	bounds, err := in.bounds(ctx)
	if err != nil {
		return err
	}
	stuck := make(map[place]bool)
	for _, p := range mine {
		at := place{p.Topic, p.Partition}
		b := bounds[at]
		// Of a partition nothing is stored of yet, the log's start is next.
		if r := in.reader(at); r != nil && r.stuck(max(p.Next, b.First), b.Last) {
			stuck[at] = true
		}
	}
	if len(stuck) > 0 {
		keep := make(map[place]bool)
		for _, p := range mine {
			at := place{p.Topic, p.Partition}
			keep[at] = !stuck[at]
			if stuck[at] {
				in.log.WarnContext(ctx, "reader stands still, starting it again",
					slog.String("topic", at.topic), slog.Int("partition", at.partition), slog.Int64("next", p.Next))
			}
		}
		in.stopReaders(keep)
	}
	for _, p := range mine {
		at := place{p.Topic, p.Partition}
		b, known := bounds[at]
		if in.reader(at) != nil || !known {
			continue
		}
		next, err := in.aim(ctx, p, b)
		if err != nil {
			return err
		}
		in.start(ctx, at, next)
	}
	return nil
}

// aim checks the stored offset against what the log holds. Where they do not
// fit, records are gone, or the log is another than it was: that must not
// happen, and is said aloud. Reading goes on at the log's start; events that
// are known do not count again.
func (in *Ingester) aim(ctx context.Context, p store.Partition, b broker.Bounds) (int64, error) {
	switch {
	case p.Next < 0:
		return b.First, nil
	case p.Next >= b.First && p.Next <= b.Last:
		return p.Next, nil
	}
	in.log.ErrorContext(ctx, "stored offset is outside the log, reading from the log's start",
		slog.String("topic", p.Topic), slog.Int("partition", p.Partition), slog.Int64("stored", p.Next),
		slog.Int64("log_start", b.First), slog.Int64("log_end", b.Last))
	in.meters.gaps.Add(ctx, 1)
	p.Next = b.First
	return b.First, in.Store.Reset(ctx, p)
}

func (in *Ingester) reader(at place) *reader {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.readers[at]
}

// bounds asks the broker what the logs hold.
func (in *Ingester) bounds(ctx context.Context) (map[place]broker.Bounds, error) {
	out := make(map[place]broker.Bounds)
	for _, name := range in.topics() {
		n, err := in.Broker.Partitions(ctx, name)
		if err != nil {
			return nil, err
		}
		ends, err := in.Broker.Ends(ctx, name, n)
		if err != nil {
			return nil, err
		}
		for p, b := range ends {
			out[place{name, p}] = b
		}
	}
	return out, nil
}
