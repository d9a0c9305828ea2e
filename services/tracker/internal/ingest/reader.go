package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/backoff"
	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/wire"
)

// item is a record on its way from a reader to the writer.
type item struct {
	store.Record
	raw    custody.Record // as it was fetched
	unfit  string         // why it goes to the dead topic; empty if it does not
	reader *reader
}

// reader reads one partition.
type reader struct {
	at     place
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	last    time.Time // production time of the last record stored
	next    int64     // what the store goes on with
	end     int64     // of the log, when last asked
	seen    int64     // next at the last look
	stands  int       // looks since next moved, while there was more to read
	shownAt int64     // next as it was last committed to the broker
}

// start runs a reader for a partition from an offset on.
func (in *Ingester) start(ctx context.Context, at place, from int64) {
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{at: at, cancel: cancel, done: make(chan struct{}), next: from, shownAt: -1}
	in.mu.Lock()
	in.readers[at] = r
	in.mu.Unlock()
	go func() {
		defer close(r.done)
		in.read(ctx, r, from)
	}()
}

// read hands the partition's records to the writer until ctx ends.
func (in *Ingester) read(ctx context.Context, r *reader, from int64) {
	wait := backoff.Policy{Max: 5 * time.Second}
	for n := 1; ctx.Err() == nil; n++ {
		next, err := in.fetch(ctx, r, from)
		if next > from {
			from, n = next, 1
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, kafka.OffsetOutOfRange) {
			// The next look at the bounds settles where to go on.
			in.log.ErrorContext(ctx, "offset is outside the log", slog.String("topic", r.at.topic),
				slog.Int("partition", r.at.partition), slog.Int64("offset", from))
			in.mu.Lock()
			if in.readers[r.at] == r {
				delete(in.readers, r.at)
			}
			in.mu.Unlock()
			return
		}
		in.log.WarnContext(ctx, "reading a partition failed, trying again", slog.String("topic", r.at.topic),
			slog.Int("partition", r.at.partition), slog.Any("error", err))
		if wait.Wait(ctx, n) != nil {
			return
		}
	}
}

// fetch reads until something fails and returns where to go on.
func (in *Ingester) fetch(ctx context.Context, r *reader, from int64) (int64, error) {
	k := kafka.NewReader(kafka.ReaderConfig{
		Brokers: in.Broker.Bootstrap(), Dialer: in.Broker.Dialer(), Topic: r.at.topic, Partition: r.at.partition,
		MinBytes: 1, MaxBytes: 4 << 20, MaxWait: in.cfg.MaxWait, ReadBatchTimeout: in.cfg.MaxWait,
		QueueCapacity: 100, ReadBackoffMin: 20 * time.Millisecond, ReadBackoffMax: time.Second,
		ReadLagInterval: -1, OffsetOutOfRangeError: true,
	})
	defer func() { _ = k.Close() }()
	if err := k.SetOffset(from); err != nil {
		return from, err
	}
	for {
		m, err := k.FetchMessage(ctx)
		if err != nil {
			return from, err
		}
		select {
		case in.lined <- fetched(r, m):
			from = m.Offset + 1
		case <-ctx.Done():
			return from, ctx.Err()
		}
	}
}

// fetched makes an item of what was fetched.
func fetched(r *reader, m kafka.Message) item {
	raw := custody.Record{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Time: m.Time}
	for _, h := range m.Headers {
		raw.Headers = append(raw.Headers, broker.Header{Key: h.Key, Value: h.Value})
	}
	return item{Record: store.Record{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset}, raw: raw, reader: r}
}

// open decodes an item, once; one that cannot be decoded, or that the store
// refused, is made ready for the dead topic.
func (in *Ingester) open(it *item) error {
	if it.unfit == "" && it.Event == nil {
		ev, err := in.Codec.OpenEvent(it.raw)
		if err == nil {
			it.Event, err = wire.Decode(ev)
		}
		if err != nil {
			it.unfit = err.Error()
		}
	}
	if it.unfit == "" || it.Dead != nil {
		return nil
	}
	dead, err := in.Codec.Dead(it.raw, it.unfit)
	if err != nil {
		return err
	}
	it.Event, it.Dead = nil, &dead
	return nil
}

// stored notes that the store has the reader's records up to next.
func (r *reader) stored(next int64, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next, r.last = max(r.next, next), at
}

// stuckAfter is how many looks a reader may stand still beside unread records.
const stuckAfter = 5

// stuck looks whether the reader moves; next is what the store goes on with
// and end that of the log.
func (r *reader) stuck(next, end int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end = end
	if next != r.seen || next >= end {
		r.seen, r.stands = next, 0
		return false
	}
	r.stands++
	return r.stands >= stuckAfter
}

// lag is how much of the log is not stored, and how old the newest is that is.
func (r *reader) lag(now time.Time) (records int64, age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	records = max(r.end-r.next, 0)
	if records > 0 && !r.last.IsZero() {
		age = max(now.Sub(r.last), 0)
	}
	return records, age
}
