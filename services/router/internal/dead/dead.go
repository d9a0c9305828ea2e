// Package dead shows the dead topic to people and puts its records back.
//
// A record that nobody could open lies there sealed once more, with where it
// lay and why it died in its headers. A replay, always by command:
//
//  1. opens what was sealed around it, which needs only our own keyring
//  2. notes in the ledger that it begins
//  3. puts the record back onto its topic and partition with the key, the bytes
//     and the headers it had, and one header more, [HeaderReplayOf]
//  4. notes that it is done
//
// One that is done is refused. One that was begun and whose end is not known (a
// crash, a broker that did not answer) is looked for in its partition by that
// header before it is put there again. What is still poison dies again as
// another record, which names the first, and stays there: nothing is replayed
// but by command.
package dead

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/record"
	"kurir.dev/kit/topic"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// HeaderReplayOf names the dead record that a record is the replay of.
const HeaderReplayOf = "kurir-replay-of"

// Record is a record of the dead topic, as people may see it.
type Record struct {
	// ID is its place: "partition-offset".
	ID string
	// DiedAt is when it was put aside.
	DiedAt time.Time
	Reason string
	// Topic, Partition and Offset are where it lay.
	Topic     string
	Partition int
	Offset    int64
	// MailID is empty when it has no key that looks like one.
	MailID string
	// Headers are those of ours.
	Headers map[string]string
	// Bytes is the size of its value as it is sealed.
	Bytes int
	// ReplayedAt is zero when it was not replayed.
	ReplayedAt time.Time
	// ReplayOf is the dead record it is the replay of; empty for none.
	ReplayOf string
}

// Replay is how far a replay came; zero is none.
type Replay struct{ Begun, Done time.Time }

// Ledger remembers replays; the store is one.
type Ledger interface {
	// Begin notes that the replay of a dead record begins and answers what
	// stood there before. A replay that stands is left as it is, unless again.
	Begin(ctx context.Context, id string, now time.Time, again bool) (Replay, error)
	// Done notes that it was acknowledged.
	Done(ctx context.Context, id string, now time.Time) error
	// Replays gives those of the ids that were begun.
	Replays(ctx context.Context, ids []string) (map[string]Replay, error)
}

// Reader reads partitions; scan.Reader is one.
type Reader interface {
	Bounds(ctx context.Context, topic string, partition int) (broker.Bounds, error)
	At(ctx context.Context, topic string, partition int, t time.Time) (int64, error)
	Read(ctx context.Context, topic string, partition int, from, to int64, each func(custody.Record) bool) error
}

// Deps are what a desk works with; all are required.
type Deps struct {
	Ledger Ledger
	Reader Reader
	Codec  *record.Codec
	Names  topic.Names
	// Partitions is how many a topic has.
	Partitions func(ctx context.Context, topic string) (int, error)
	// Put puts a record where it says.
	Put func(ctx context.Context, m broker.Message) (broker.Position, error)
	Log *slog.Logger
	Now func() time.Time
}

// Desk serves the dead topic. Safe for concurrent use.
type Desk struct {
	deps      Deps
	replaying sync.Mutex // one replay at a time
}

// New makes a desk.
func New(deps Deps) *Desk { return &Desk{deps: deps} }

// Place is a place on the dead topic; zero is its beginning.
type Place struct {
	Partition int
	Offset    int64
}

// String is the id of the record there.
func (p Place) String() string {
	return strconv.Itoa(p.Partition) + "-" + strconv.FormatInt(p.Offset, 10)
}

// ParsePlace reads what String wrote.
func ParsePlace(s string) (Place, bool) {
	first, second, ok := strings.Cut(s, "-")
	partition, perr := strconv.ParseUint(first, 10, 31)
	offset, oerr := strconv.ParseUint(second, 10, 63)
	p := Place{Partition: int(partition), Offset: int64(offset)}
	return p, ok && perr == nil && oerr == nil && p.String() == s
}

// List lists dead records from a place on, only those of a topic unless that is
// empty, at most limit, and where the rest begins; nil when there is no rest.
func (d *Desk) List(ctx context.Context, of string, from Place, limit int) ([]Record, *Place, error) {
	name := d.deps.Names.Dead()
	n, err := d.deps.Partitions(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	var list []Record
	var ids []string
	var rest *Place
	for p := from.Partition; p < n && rest == nil; p++ {
		bounds, err := d.deps.Reader.Bounds(ctx, name, p)
		if err != nil {
			return nil, nil, unavailable(err)
		}
		first := bounds.First
		if p == from.Partition {
			first = max(first, from.Offset)
		}
		if err := d.deps.Reader.Read(ctx, name, p, first, bounds.Last, func(r custody.Record) bool {
			if of != "" && record.Header(r, record.HeaderDeadTopic) != of {
				return true
			}
			if len(list) == limit {
				rest = &Place{Partition: p, Offset: r.Offset}
				return false
			}
			it := describe(r)
			list, ids = append(list, it), append(ids, it.ID)
			return true
		}); err != nil {
			return nil, nil, unavailable(err)
		}
	}
	replays, err := d.deps.Ledger.Replays(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	for i := range list {
		list[i].ReplayedAt = replays[list[i].ID].Done
	}
	return list, rest, nil
}

// Get gives one dead record and why it does not open now; empty when it does.
func (d *Desk) Get(ctx context.Context, id string) (Record, string, error) {
	r, err := d.fetch(ctx, id)
	if err != nil {
		return Record{}, "", err
	}
	out := describe(r)
	replays, err := d.deps.Ledger.Replays(ctx, []string{id})
	if err != nil {
		return Record{}, "", err
	}
	out.ReplayedAt = replays[id].Done
	return out, d.problem(r), nil
}

// problem is why a dead record does not open; empty when it does.
func (d *Desk) problem(buried custody.Record) string {
	r, err := d.deps.Codec.OpenDead(buried)
	if err != nil {
		return "it was put aside under a key that is not in the keyring"
	}
	switch names := d.deps.Names; {
	case names.IsDeferred(r.Topic):
		_, err = d.deps.Codec.OpenDeferral(r)
	case r.Topic == names.Billing():
		_, err = d.deps.Codec.OpenBilling(r)
	case strings.HasPrefix(r.Topic, names.Lane("")):
		_, err = d.deps.Codec.OpenMail(r)
	case r.Topic == names.Events() || strings.HasPrefix(r.Topic, names.Outcome("")):
		_, err = d.deps.Codec.OpenEvent(r)
	default:
		return "its topic is none of ours"
	}
	if err != nil {
		return "it does not open with the keys there are"
	}
	return ""
}

// fetch reads one record of the dead topic.
func (d *Desk) fetch(ctx context.Context, id string) (custody.Record, error) {
	unknown := fault.Newf(fault.NotFound, faultv1.Reason_REASON_DEAD_UNKNOWN, "no such dead record")
	at, ok := ParsePlace(id)
	if !ok {
		return custody.Record{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "id", "is none of a dead record, such as 0-12")
	}
	name := d.deps.Names.Dead()
	n, err := d.deps.Partitions(ctx, name)
	if err != nil {
		return custody.Record{}, err
	}
	if at.Partition >= n {
		return custody.Record{}, unknown
	}
	bounds, err := d.deps.Reader.Bounds(ctx, name, at.Partition)
	if err != nil {
		return custody.Record{}, unavailable(err)
	}
	if at.Offset < bounds.First || at.Offset >= bounds.Last {
		return custody.Record{}, unknown
	}
	var found *custody.Record
	if err := d.deps.Reader.Read(ctx, name, at.Partition, at.Offset, at.Offset+1, func(r custody.Record) bool {
		found = &r
		return false
	}); err != nil {
		return custody.Record{}, unavailable(err)
	}
	if found == nil {
		return custody.Record{}, unknown
	}
	return *found, nil
}

// describe is what people may see of a record.
func describe(r custody.Record) Record {
	out := Record{
		ID: Place{Partition: r.Partition, Offset: r.Offset}.String(), DiedAt: r.Time.UTC(),
		Reason: record.Header(r, record.HeaderDeadReason), Topic: record.Header(r, record.HeaderDeadTopic),
		ReplayOf: record.Header(r, HeaderReplayOf), Headers: make(map[string]string), Bytes: len(r.Value),
	}
	out.Partition, _ = strconv.Atoi(record.Header(r, record.HeaderDeadPartition))
	out.Offset, _ = strconv.ParseInt(record.Header(r, record.HeaderDeadOffset), 10, 64)
	for _, name := range []string{
		record.HeaderMailID, record.HeaderLane, record.HeaderTenant, record.HeaderAttempt,
		record.HeaderExpiresAt, record.HeaderType, record.HeaderTraceparent,
	} {
		if v := record.Header(r, name); v != "" && len(v) <= 200 {
			out.Headers[name] = v
		}
	}
	if id, err := uuid.Parse(string(r.Key)); err == nil {
		out.MailID = id.String()
	}
	return out
}

func unavailable(err error) error {
	return fault.Newf(fault.Unavailable, faultv1.Reason_REASON_BROKER_UNAVAILABLE, "the broker did not answer in time").
		WithRetry(time.Second).WithCause(fmt.Errorf("reading the dead topic: %w", err))
}
