package dead

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/record"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// skew is how far the clocks of routers and brokers may be apart.
const skew = 2 * time.Second

// Replay puts a dead record back to where it came from, once; with again
// another time. It tells the topic and where the record lies now. Errors are
// faults: NotFound DEAD_UNKNOWN; Precondition DEAD_NOT_REPLAYABLE when it was
// replayed before or its place is not there any more; Unavailable when the
// broker did not acknowledge: the same call again then looks whether it did.
func (d *Desk) Replay(ctx context.Context, id string, again bool) (string, broker.Position, error) {
	d.replaying.Lock()
	defer d.replaying.Unlock()
	r, err := d.fetch(ctx, id)
	if err != nil {
		return "", broker.Position{}, err
	}
	was, err := d.deps.Codec.OpenDead(r)
	if err != nil {
		return "", broker.Position{}, refuse("it was put aside under a key that is not in the keyring").WithCause(err)
	}
	n, err := d.deps.Partitions(ctx, was.Topic)
	if err != nil {
		return "", broker.Position{}, err
	}
	if !d.ours(was.Topic) || was.Partition >= n {
		return "", broker.Position{}, refuse("the place it came from is not there any more")
	}
	if err := d.begin(ctx, id, was, again); err != nil {
		return "", broker.Position{}, err
	}
	headers := make([]broker.Header, 0, len(was.Headers)+1)
	for _, h := range was.Headers {
		if h.Key != HeaderReplayOf {
			headers = append(headers, h)
		}
	}
	pos, err := d.deps.Put(ctx, broker.Message{
		Topic: was.Topic, Partition: was.Partition, Key: was.Key, Value: was.Value,
		Headers: append(headers, broker.Header{Key: HeaderReplayOf, Value: []byte(id)}),
	})
	if err != nil {
		return "", broker.Position{}, err
	}
	d.deps.Log.InfoContext(ctx, "dead record was replayed", slog.String("dead_id", id), slog.String("topic", was.Topic),
		slog.Int("partition", pos.Partition), slog.Int64("offset", pos.Offset))
	return was.Topic, pos, d.deps.Ledger.Done(ctx, id, d.deps.Now())
}

// ours tells whether records of a topic are put back there.
func (d *Desk) ours(name string) bool {
	names := d.deps.Names
	return names.IsDeferred(name) || name == names.Billing() || name == names.Events() ||
		strings.HasPrefix(name, names.Lane("")) || strings.HasPrefix(name, names.Outcome(""))
}

// begin notes a replay, or refuses one that was done.
func (d *Desk) begin(ctx context.Context, id string, was custody.Record, again bool) error {
	before, err := d.deps.Ledger.Begin(ctx, id, d.deps.Now(), again)
	switch {
	case err != nil || again || before.Begun.IsZero():
		return err
	case !before.Done.IsZero():
		return refuse("it was replayed before")
	}
	there, err := d.landed(ctx, id, was, before.Begun)
	if err != nil {
		return unavailable(err)
	}
	if there {
		if err := d.deps.Ledger.Done(ctx, id, d.deps.Now()); err != nil {
			return err
		}
		return refuse("it was replayed before")
	}
	_, err = d.deps.Ledger.Begin(ctx, id, d.deps.Now(), true)
	return err
}

// landed looks for a replay that was begun and whose end is not known.
func (d *Desk) landed(ctx context.Context, id string, was custody.Record, begun time.Time) (bool, error) {
	first, err := d.deps.Reader.At(ctx, was.Topic, was.Partition, begun.Add(-skew))
	if err != nil {
		return false, err
	}
	bounds, err := d.deps.Reader.Bounds(ctx, was.Topic, was.Partition)
	if err != nil {
		return false, err
	}
	there := false
	err = d.deps.Reader.Read(ctx, was.Topic, was.Partition, first, bounds.Last, func(r custody.Record) bool {
		there = record.Header(r, HeaderReplayOf) == id
		return !there
	})
	return there, err
}

func refuse(why string) *fault.Error {
	return fault.Newf(fault.Precondition, faultv1.Reason_REASON_DEAD_NOT_REPLAYABLE, "%s", why)
}
