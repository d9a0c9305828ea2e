package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/record"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

// Producer writes records; *broker.Producer is one.
type Producer interface {
	Produce(ctx context.Context, m broker.Message) (broker.Position, error)
	Enqueue(m broker.Message, done func(broker.Position, error)) error
	Healthy() bool
}

// Journal writes outcomes. The order of a settlement is fixed: the outcome
// record is acknowledged, then, if the mail waits, its deferral, and only then
// the lane record is complete. What the broker does not take is tried again:
// for the life of the process where a mail may have been delivered or is at
// its end, for as long as the lease holds where the next owner may as well try
// it itself. Safe for concurrent use.
type Journal struct {
	codec    *record.Codec
	producer Producer
	log      *slog.Logger
	limit    int

	mu      sync.Mutex
	open    map[string]int // settlements under way, by lane
	freed   chan struct{}  // closed when one ends or the broker is back, then replaced
	held    bool           // somebody waits for the broker
	waiting []*settlement  // to be tried again
	refused int            // settlements under way that were refused before
	stopped bool           // nothing is tried again any more
}

// settlement is a lane record on its way to completion.
type settlement struct {
	lane    string
	steps   []broker.Message
	next    int
	offset  int64       // of the outcome record
	outcome bool        // the first step is the outcome record
	lasting bool        // it outlives the lease
	refused bool        // at least once
	alive   func() bool // whether the lease holds for certain
	done    func(offset int64, ok bool)
	ctx     context.Context //nolint:containedctx // of the lease: the settlement ends with it, unless lasting
}

// retryEvery is how often refused records are tried again.
const retryEvery = 200 * time.Millisecond

// New makes a journal. limit bounds the settlements under way of one lane,
// beyond which [Journal.Admit] holds new deliveries back.
func New(codec *record.Codec, producer Producer, log *slog.Logger, limit int) *Journal {
	return &Journal{codec: codec, producer: producer, log: log, limit: limit, open: map[string]int{}, freed: make(chan struct{})}
}

// Admit waits while too many outcomes of the lane are not acknowledged, and
// while the broker takes none: what cannot be written down should not be sent.
// The error is ctx's.
func (j *Journal) Admit(ctx context.Context, lane string) error {
	for {
		j.mu.Lock()
		away, full, freed := !j.producer.Healthy(), j.open[lane] >= j.limit, j.freed
		j.held = j.held || away
		j.mu.Unlock()
		if !away && !full {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Settle writes the outcome that ends a lane record, and the deferral that
// goes with Deferred and Held. done is told the outcome's offset once all is
// acknowledged, or false when it will not be; from any goroutine, and it must
// not block.
//
// The lease may end before: another may own the record by then. An outcome is
// written all the same, so that the other finds it; that both end the mail in
// the same way does no harm. Only a Deferred of which nothing is written yet
// is dropped: the other may deliver the mail, and a deferral would send it
// once more. For the same reason alive is asked whether the lease still holds
// once a Deferred is acknowledged: if so, whoever comes after will read it; if
// not, the other may have looked before, and the deferral is left to it.
func (j *Journal) Settle(ctx context.Context, m *Mail, o Outcome, partition int, alive func() bool, done func(offset int64, ok bool)) error {
	first, err := j.codec.Outcome(event(m, o), partition)
	if err != nil {
		return fmt.Errorf("sealing an outcome: %w", err)
	}
	s := &settlement{lane: m.Lane, steps: []broker.Message{first}, outcome: true, lasting: o.Kind != Deferred, alive: alive, done: done, ctx: ctx}
	if o.Kind == Deferred || o.Kind == Held {
		second, err := j.deferral(m, Settled{Kind: o.Kind, Sequence: o.Sequence, NextAt: o.NextAt, Site: o.Site, Reason: o.Reason(), Doubt: o.PossibleDuplicate})
		if err != nil {
			return err
		}
		s.steps = append(s.steps, second)
	}
	j.begin(s)
	return nil
}

// Repeat writes the deferral of a mail again whose outcome an earlier owner
// has written already: nobody knows whether the deferral followed it.
func (j *Journal) Repeat(ctx context.Context, m *Mail, known Settled, done func(offset int64, ok bool)) error {
	message, err := j.deferral(m, known)
	if err != nil {
		return err
	}
	j.begin(&settlement{lane: m.Lane, steps: []broker.Message{message}, offset: known.Offset, done: done, ctx: ctx})
	return nil
}

// Bury writes a record that does not open to the dead topic.
func (j *Journal) Bury(ctx context.Context, r custody.Record, lane, reason string, done func(offset int64, ok bool)) error {
	message, err := j.codec.Dead(r, reason)
	if err != nil {
		return fmt.Errorf("sealing a dead record: %w", err)
	}
	j.begin(&settlement{lane: lane, steps: []broker.Message{message}, offset: -1, done: done, ctx: ctx})
	return nil
}

// Note writes an outcome that ends nothing, without waiting for it.
func (j *Journal) Note(ctx context.Context, m *Mail, o Outcome, partition int) {
	message, err := j.codec.Outcome(event(m, o), partition)
	if err == nil {
		err = j.producer.Enqueue(message, nil)
	}
	if err != nil {
		j.log.LogAttrs(ctx, slog.LevelWarn, "an attempt was not written down", slog.String("mail_id", m.MailID), slog.Any("error", err))
	}
}

// Commit writes that the final dot is about to be sent, waits until that is
// acknowledged, and answers where it lies.
func (j *Journal) Commit(ctx context.Context, m *Mail, o Outcome, partition int) (offset int64, err error) {
	message, err := j.codec.Outcome(event(m, o), partition)
	if err != nil {
		return 0, fmt.Errorf("sealing an outcome: %w", err)
	}
	at, err := j.producer.Produce(ctx, message)
	if err != nil {
		return 0, fmt.Errorf("writing down that a mail is being committed: %w", err)
	}
	return at.Offset, nil
}

func (j *Journal) deferral(m *Mail, s Settled) (broker.Message, error) {
	d := &eventsv1.Deferral{
		Envelope: m.later(s.Sequence, s.Doubt || s.Kind == Held), Reason: s.Reason, Site: s.Site, Held: s.Kind == Held,
	}
	if !s.NextAt.IsZero() {
		d.DueAt = timestamppb.New(s.NextAt)
	}
	message, err := j.codec.Deferral(d)
	if err != nil {
		return broker.Message{}, fmt.Errorf("sealing a deferral: %w", err)
	}
	return message, nil
}

func (j *Journal) begin(s *settlement) {
	j.mu.Lock()
	j.open[s.lane]++
	j.mu.Unlock()
	j.step(s)
}

// step sends the next record of a settlement; its acknowledgement goes on.
func (j *Journal) step(s *settlement) {
	if s.ctx.Err() != nil && !s.lasting {
		j.end(s, false)
		return
	}
	err := j.producer.Enqueue(s.steps[s.next], func(at broker.Position, err error) {
		if err != nil {
			j.later(s, err)
			return
		}
		if s.next == 0 && s.outcome {
			if !s.lasting && !s.alive() {
				j.end(s, false)
				return
			}
			s.offset, s.lasting = at.Offset, true
		}
		if s.next++; s.next < len(s.steps) {
			j.step(s)
			return
		}
		j.end(s, true)
	})
	if err != nil {
		j.later(s, err)
	}
}

func (j *Journal) later(s *settlement, err error) {
	j.mu.Lock()
	if j.stopped {
		j.mu.Unlock()
		j.end(s, false)
		return
	}
	j.waiting = append(j.waiting, s)
	first := false // of this outage
	if !s.refused {
		s.refused = true
		j.refused++
		first = j.refused == 1
	}
	j.mu.Unlock()
	if first {
		j.log.LogAttrs(s.ctx, slog.LevelWarn, "outcomes wait for the broker", slog.Any("error", err))
	}
}

func (j *Journal) end(s *settlement, ok bool) {
	s.done(s.offset, ok)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.open[s.lane]--
	if s.refused {
		j.refused--
	}
	j.wake()
}

// wake wakes who waits for a change; j.mu is held.
func (j *Journal) wake() {
	close(j.freed)
	j.freed = make(chan struct{})
}

// Pending is how many settlements are under way.
func (j *Journal) Pending() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, open := range j.open {
		n += open
	}
	return n
}

// Part tries again what the broker refused. Stop goes on with that for as long
// as its context allows, and then gives up what is not written.
func (j *Journal) Part() app.Part {
	loop := app.Loop("journal", func(ctx context.Context) error {
		tick := time.NewTicker(retryEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				j.retry()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	stop := loop.Stop
	loop.Stop = func(ctx context.Context) error {
		flushed := j.flush(ctx)
		err := stop(ctx)
		j.mu.Lock()
		rest := j.waiting
		j.waiting, j.stopped = nil, true
		j.mu.Unlock()
		for _, s := range rest {
			j.end(s, false)
		}
		return errors.Join(flushed, err)
	}
	return loop
}

// retry sends what waits once more, and ends the wait for a broker that is
// back. While it is away there is no use: records are refused at once then.
func (j *Journal) retry() {
	if !j.producer.Healthy() {
		return
	}
	j.mu.Lock()
	again := j.waiting
	j.waiting = nil
	if j.held {
		j.held = false
		j.wake()
	}
	j.mu.Unlock()
	for _, s := range again {
		j.step(s)
	}
}

// flush waits until nothing is under way.
func (j *Journal) flush(ctx context.Context) error {
	for {
		j.mu.Lock()
		n, freed := 0, j.freed
		for _, open := range j.open {
			n += open
		}
		j.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return fmt.Errorf("%d outcomes could not be written in time", n)
		}
	}
}
