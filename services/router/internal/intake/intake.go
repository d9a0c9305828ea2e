// Package intake brings deferred mail from Kafka into the waiting room.
//
// Each lane has a topic of its own, and here a stream of its own, with a part
// of the window and workers: whatever one lane brings, or waits for, is in
// nobody else's way until the gate and the store, which know the lanes' ranks.
//
//  1. The stream's consumer hands it each record; its window bounds the queue.
//  2. A worker opens the record and puts it into the store; concurrent workers
//     share a commit there.
//  3. Once it is committed, the record is completed and the releaser is told
//     when the mail is due.
//
// Other topics of deferred mail are looked for and read as well: that of all
// lanes, which older versions wrote to, and those of lanes that are not
// configured any more.
//
// The store passes over a (mail id, attempt) it has seen, so a record may be
// read any number of times. A record that does not decode goes to the dead
// topic; while the store or the broker does not answer, the record is tried
// again until its lease ends, and then belongs to the next owner.
package intake

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"kurir.dev/kit/backoff"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/record"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/router/internal/waiting"
)

const (
	// lookEvery is how often topics of other lanes are looked for.
	lookEvery = time.Minute
	// otherRecords and otherBytes are the window of each of them.
	otherRecords, otherBytes = 64, 4 << 20
)

// Room is where deferred mail goes; the store is one.
type Room interface {
	// Put takes a mail, durably; one that was taken before is passed over.
	Put(ctx context.Context, m waiting.Mail) error
}

// Deps are what an intake works with.
type Deps struct {
	// Broker is where the topics are.
	Broker    *broker.Client
	Telemetry *telemetry.Telemetry
	// Group begins the names of the consumer groups; the lane follows. That of
	// the topic of all lanes is the group itself.
	Group string
	Room  Room
	// Codec opens deferrals and seals envelopes.
	Codec *record.Codec
	// Dead takes records that do not decode.
	Dead func(ctx context.Context, m broker.Message) error
	// Wake is told when a mail has to be decided about; it must not block.
	Wake func(lane string, at time.Time)
	// Lanes share the window of one consumer, in equal parts.
	Lanes []string
	// Gate guards opening and sealing; nil does not.
	Gate *gate.Gate
}

// Intake reads the topics of deferred mail.
type Intake struct {
	deps    Deps
	pause   backoff.Policy
	streams map[string]*stream // by topic
}

// New makes an intake.
func New(deps Deps) (*Intake, error) {
	i := &Intake{
		deps: deps, pause: backoff.Policy{Base: 100 * time.Millisecond, Max: 5 * time.Second},
		streams: make(map[string]*stream),
	}
	all, n := custody.Default(), len(deps.Lanes)
	for _, lane := range deps.Lanes {
		if _, err := i.add(deps.Broker.Topics().Deferred(lane), max(all.MaxRecords/n, 1), all.MaxBytes/int64(n)); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// add makes the stream of a topic, with a window.
func (i *Intake) add(topic string, records int, bytes int64) (*stream, error) {
	s := &stream{deps: i.deps, pause: i.pause, queue: make(chan *custody.Delivery, records)}
	var err error
	s.consumer, err = custody.New(i.deps.Broker, i.deps.Telemetry, s, custody.Config{
		Group: i.deps.Group + strings.TrimPrefix(topic, i.deps.Broker.Topics().SharedDeferred()), Topic: topic,
		MaxRecords: records, MaxBytes: bytes,
	})
	if err != nil {
		return nil, fmt.Errorf("making the consumer of %s: %w", topic, err)
	}
	i.streams[topic] = s
	return s, nil
}

// Run reads until ctx ends; the topics of the lanes must be there.
func (i *Intake) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range i.streams {
		g.Go(func() error { return s.run(ctx) })
	}
	g.Go(func() error {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			found, err := i.look(ctx)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			}
			for _, s := range found {
				g.Go(func() error { return s.run(ctx) })
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
	return g.Wait()
}

// look makes streams of topics that have none, as soon as the broker tells.
func (i *Intake) look(ctx context.Context) (found []*stream, err error) {
	var names []string
	err = i.pause.Retry(ctx, func(ctx context.Context, _ int) (err error) {
		names, err = i.deps.Broker.TopicNames(ctx)
		return err
	}, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if i.streams[name] != nil || !i.deps.Broker.Topics().IsDeferred(name) {
			continue
		}
		s, err := i.add(name, otherRecords, otherBytes)
		if err != nil {
			return nil, err
		}
		i.deps.Telemetry.Log.InfoContext(ctx, "deferred mail is read from a topic of no configured lane as well", slog.String("topic", name))
		found = append(found, s)
	}
	return found, nil
}
