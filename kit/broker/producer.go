package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/app"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/topic"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// Producer writes records with acks=all, batching naturally: each partition
// has one request in flight, and the next batch is what queued meanwhile and
// while it waited for its turn ([Config.InFlight]). So a lone record goes at once,
// and under load one acknowledgement, with its fsync, carries hundreds.
//
// An error means that the outcome is unknown: the record may land all the
// same, even later, even twice when tries were repeated. Readers drop what
// they have seen.
//
// A Producer works from the moment it is made, its goroutines live only while
// there is something to write, and [Producer.Part] ends it. Safe for
// concurrent use.
type Producer struct {
	client *Client
	meters *producerMeters
	ctx    context.Context //nolint:containedctx // the life of the writers, ended by Stop, not by a call
	cancel context.CancelFunc

	mu      sync.Mutex
	lines   map[line]*queue
	records int
	bytes   int64
	closed  bool
	writers sync.WaitGroup

	pulse *pulse
}

// line is one partition's way to the broker.
type line struct {
	topic     string
	partition int
}

// queue holds what waits for a line's next request.
type queue struct {
	items   []item
	running bool
}

// item is a record under way.
type item struct {
	msg  Message
	size int
	due  time.Time // after this it is given up
	done func(Position, error)
}

// NewProducer makes a producer on the client.
func NewProducer(c *Client, t *telemetry.Telemetry) *Producer {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // ended by Stop
	p := &Producer{client: c, ctx: ctx, cancel: cancel, lines: make(map[line]*queue)}
	p.pulse = newPulse(p)
	p.meters = newProducerMeters(t, p)
	return p
}

// Produce writes m and waits for its acknowledgement. It fails with
// fault.Unavailable (REASON_BROKER_UNAVAILABLE) when none came within the
// configured time, or as soon as the broker is known to be gone or its disk to
// be full; fault.Exhausted (REASON_OVERLOADED) when the queue is full,
// fault.Invalid (REASON_MAIL_TOO_LARGE) for a record beyond the limit, and
// with ctx's error when ctx ends first; but for the last two of these nothing
// is known of the record.
func (p *Producer) Produce(ctx context.Context, m Message) (Position, error) {
	type answer struct {
		pos Position
		err error
	}
	ch := make(chan answer, 1)
	if err := p.enqueue(ctx, m, func(pos Position, err error) { ch <- answer{pos, err} }); err != nil {
		return Position{}, err
	}
	select {
	case a := <-ch:
		return a.pos, a.err
	case <-ctx.Done():
		return Position{}, ctx.Err()
	}
}

// Enqueue takes m over and calls done, from a goroutine of the producer, when
// it is acknowledged or given up. done must not block; nil is allowed. When
// Enqueue itself fails, done is not called and nothing was written.
func (p *Producer) Enqueue(m Message, done func(Position, error)) error {
	if done == nil {
		done = func(Position, error) {}
	}
	return p.enqueue(p.ctx, m, done)
}

func (p *Producer) enqueue(ctx context.Context, m Message, done func(Position, error)) error {
	size := m.size()
	if size > p.client.cfg.MaxRecordBytes {
		return fault.Newf(fault.Invalid, faultv1.Reason_REASON_MAIL_TOO_LARGE,
			"record of %d bytes exceeds the limit of %d", size, p.client.cfg.MaxRecordBytes)
	}
	if p.pulse.present().Err() != nil && p.ctx.Err() == nil {
		p.meters.refused(ctx)
		return unavailable("broker is away", errGone)
	}
	if m.Partition < 0 {
		n, err := p.partitionOf(ctx, m.Topic, m.Key)
		if err != nil {
			return err
		}
		m.Partition = n
	}
	key := line{m.Topic, m.Partition}
	if p.pulse.full(key) {
		p.meters.refused(ctx)
		return unavailable(errFull.Error(), nil)
	}
	it := item{msg: m, size: size, due: time.Now().Add(p.client.cfg.ProduceTimeout), done: done}

	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.admit(m.Topic, size); err != nil {
		p.meters.refused(ctx)
		return err
	}
	p.records++
	p.bytes += int64(size)
	q := p.lines[key]
	if q == nil {
		q = &queue{}
		p.lines[key] = q
	}
	q.items = append(q.items, it)
	if !q.running {
		q.running = true
		p.writers.Go(func() { p.write(key, q) }) //nolint:contextcheck // batches outlive the call that began them
	}
	return nil
}

// admit says whether there is room for one more record; p.mu is held. An
// eighth of the room is for urgent lanes alone, so that a flood of the others
// never refuses them. Into an empty queue every record goes.
func (p *Producer) admit(topic string, size int) error {
	records, bytes := p.client.cfg.QueueRecords, p.client.cfg.QueueBytes
	if !p.client.gate.urgent[topic] {
		records, bytes = records-records/8, bytes-bytes/8
	}
	full := p.records > 0 && (p.records >= records || p.bytes+int64(size) > bytes)
	switch {
	case p.closed:
		return fault.Newf(fault.Unavailable, faultv1.Reason_REASON_NOT_READY, "producer is stopped").WithRetry(retryAfter)
	case full && !p.pulse.healthy():
		return unavailable("broker does not take records and the queue is full", nil)
	case full:
		return overloaded("queue to the broker is full")
	}
	return nil
}

// PartitionOf is the partition a record with this key goes to. It asks the
// broker the first time a topic is met; fault.Unavailable when it cannot.
func (p *Producer) PartitionOf(topic string, key []byte) (int, error) {
	return p.partitionOf(p.ctx, topic, key)
}

// PartitionIn is the partition of a band that a record with this key goes to.
// It asks as [Producer.PartitionOf] does, and fails like it.
func (p *Producer) PartitionIn(topicName string, key []byte, b topic.Band) (int, error) {
	partitions, err := p.client.Partitions(p.ctx, topicName)
	if err != nil {
		return 0, err
	}
	first, n := b.Of(partitions)
	return first + partitionFor(key, n), nil
}

func (p *Producer) partitionOf(ctx context.Context, topic string, key []byte) (int, error) {
	n, err := p.client.Partitions(ctx, topic)
	if err != nil {
		return 0, err
	}
	return partitionFor(key, n), nil
}

// Healthy says whether records may be expected to be taken: not while no
// broker answers, nor when records were given up and nothing shows yet that
// others would fare better. It recovers by itself when the broker does.
func (p *Producer) Healthy() bool { return p.pulse.healthy() }

// busy says whether records wait on the line.
func (p *Producer) busy(l line) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.lines[l]
	return q != nil && q.running
}

// Part ends the producer: Stop takes no more records, writes what is queued
// for as long as its context allows, and gives up the rest.
func (p *Producer) Part() app.Part {
	return app.Part{Name: "producer", Stop: p.stop}
}

func (p *Producer) stop(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	flushed := make(chan struct{})
	go func() { // ends with the writers, which p.cancel ends
		p.writers.Wait()
		close(flushed)
	}()
	var err error
	select {
	case <-flushed:
	case <-ctx.Done():
		err = errors.New("broker did not take the last records in time")
	}
	p.cancel()
	<-flushed
	p.pulse.tasks.Wait()
	return err
}

// take removes the next batch from the queue; none ends the writer.
func (p *Producer) take(q *queue) []item {
	p.mu.Lock()
	defer p.mu.Unlock()
	batch := q.fill(nil)
	if len(batch) == 0 {
		q.running, q.items = false, nil
	}
	return batch
}

// more adds to a batch what has queued since it was taken; nothing without q.
func (p *Producer) more(q *queue, batch []item) []item {
	if q == nil {
		return batch
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return q.fill(batch)
}

// fill moves items to a batch as far as they go into one request.
func (q *queue) fill(batch []item) []item {
	bytes := 0
	for i := range batch {
		bytes += batch[i].size
	}
	n, has := 0, len(batch)
	for n < len(q.items) && has+n < batchRecords && (has+n == 0 || bytes+q.items[n].size <= batchBytes) {
		bytes += q.items[n].size
		n++
	}
	taken := q.items[:n:n]
	q.items = q.items[n:]
	if has == 0 {
		return taken
	}
	return append(batch, taken...)
}

// finish answers items and frees their room.
func (p *Producer) finish(items []item, answer func(i int, it *item) (Position, error)) {
	var bytes int64
	for i := range items {
		bytes += int64(items[i].size)
	}
	p.mu.Lock()
	p.records -= len(items)
	p.bytes -= bytes
	p.mu.Unlock()
	for i := range items {
		items[i].done(answer(i, &items[i]))
	}
}

// records makes the request's records of a batch.
func records(batch []item, now time.Time) kafka.RecordReader {
	recs := make([]kafka.Record, len(batch))
	for i := range batch {
		m := &batch[i].msg
		recs[i] = kafka.Record{Time: now, Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value)}
		if len(m.Headers) > 0 {
			recs[i].Headers = make([]kafka.Header, len(m.Headers))
			for j, h := range m.Headers {
				recs[i].Headers[j] = kafka.Header{Key: h.Key, Value: h.Value}
			}
		}
	}
	return kafka.NewRecordReader(recs...)
}
