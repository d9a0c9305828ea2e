package custody

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody/mark"
)

// askRetry is the pause between questions to a broker that does not answer.
const askRetry = 200 * time.Millisecond

// pump takes the partition over and hands its records out until reading ends.
func (p *partition) pump(reading context.Context) {
	select {
	case <-p.session.lease.begun:
	case <-reading.Done():
		return
	}
	m, ok := p.resume(reading)
	if !ok {
		return
	}
	journal, ok := p.journalBounds(reading, m)
	if !ok {
		return
	}
	p.begin(m, journal.Last)
	if !p.fence(reading) || !p.recover(reading, journal) {
		return
	}
	p.log.DebugContext(reading, "partition recovered", slog.Int64("watermark", m.Low),
		slog.Int64("done_above", m.Count()), slog.Int64("journal_records", max(0, journal.Last-journal.First)))
	for reading.Err() == nil {
		p.read(reading)
	}
}

// resume asks for the last commit and makes the mark to go on from.
func (p *partition) resume(ctx context.Context) (mark.Mark, bool) {
	c := p.session.consumer
	for ctx.Err() == nil {
		committed, err := c.committed(ctx, p.id)
		var ends map[int]broker.Bounds
		if err == nil {
			ends, err = c.bounds(ctx, c.cfg.Topic)
		}
		if err != nil {
			p.log.WarnContext(ctx, "last commit could not be read", slog.Any("error", err))
			pause(ctx, askRetry)
			continue
		}
		b := ends[p.id]
		p.see(b.Last)
		m, problem := mark.Resume(committed.CommittedOffset, committed.Metadata, b.First, b.Last)
		if problem != "" {
			c.meters.broken(ctx)
			p.log.ErrorContext(ctx, "commit does not fit the log", slog.String("problem", problem),
				slog.Int64("committed", committed.CommittedOffset),
				slog.Int64("log_start", b.First), slog.Int64("log_end", b.Last))
		}
		return m, true
	}
	return mark.Mark{}, false
}

// journalBounds says which part of the journal is to be read back: nothing,
// with a negative end, without a journal.
func (p *partition) journalBounds(ctx context.Context, m mark.Mark) (broker.Bounds, bool) {
	c := p.session.consumer
	if c.cfg.Journal == "" {
		return broker.Bounds{First: -1, Last: -1}, true
	}
	for ctx.Err() == nil {
		ends, err := c.bounds(ctx, c.cfg.Journal)
		if err != nil {
			p.log.WarnContext(ctx, "journal could not be found", slog.Any("error", err))
			pause(ctx, askRetry)
			continue
		}
		b := ends[p.id]
		if m.Journal > b.Last {
			c.meters.broken(ctx)
			p.log.ErrorContext(ctx, "journal ends before its committed position, reading it whole",
				slog.Int64("committed", m.Journal), slog.Int64("log_end", b.Last))
			return b, true
		}
		b.First = max(b.First, m.Journal)
		return b, true
	}
	return broker.Bounds{}, false
}

func (p *partition) begin(m mark.Mark, journalEnd int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tracker = mark.NewTracker(m, journalEnd)
	p.journal = m.Journal
}

// fence makes the first commit. It changes nothing of what is done: it proves
// that the generation is ours, and raises the limit.
func (p *partition) fence(ctx context.Context) bool {
	signal(p.urgent)
	return p.wait(ctx, func() bool { return p.committed })
}

// recover reads the journal back into the handler.
func (p *partition) recover(ctx context.Context, b broker.Bounds) bool {
	next := b.First
	for next < b.Last {
		r, done := p.reader(p.session.consumer.cfg.Journal, next)
		for next < b.Last {
			wait, cancel := context.WithTimeout(ctx, journalPatience)
			m, err := r.FetchMessage(wait)
			cancel()
			if err != nil {
				break
			}
			next = m.Offset + 1
			if m.Offset < b.Last {
				p.session.consumer.handler.Recover(ctx, toRecord(m))
			}
		}
		done()
		if ctx.Err() != nil {
			return false
		}
		if next < b.Last { // silence: perhaps the rest was deleted meanwhile
			p.log.WarnContext(ctx, "journal does not come, asked again", slog.Int64("next", next), slog.Int64("end", b.Last))
			if ends, err := p.session.consumer.bounds(ctx, p.session.consumer.cfg.Journal); err == nil {
				next = max(next, ends[p.id].First)
			}
		}
	}
	return ctx.Err() == nil
}

// journalPatience is how long a journal record that exists may take to come.
const journalPatience = 5 * time.Second

// reader opens a partition reader; done closes it without waiting for its
// poll to end.
func (p *partition) reader(topic string, offset int64) (r *kafka.Reader, done func()) {
	c := p.session.consumer
	var cut cutter
	r = kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.client.Bootstrap(), Dialer: cut.dialer(c.client.Dialer()), Topic: topic, Partition: p.id,
		MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second, ReadBatchTimeout: time.Second, QueueCapacity: 100,
		ReadBackoffMin: 20 * time.Millisecond, ReadBackoffMax: 500 * time.Millisecond, ReadLagInterval: -1,
		OffsetOutOfRangeError: true,
	})
	_ = r.SetOffset(offset) // fails only on a closed reader
	return r, func() {
		var closing sync.WaitGroup
		closing.Go(func() { _ = r.Close() })
		cut.close()
		closing.Wait()
	}
}

// read hands out from one reader until it fails, is interrupted, or reading
// ends.
func (p *partition) read(ctx context.Context) {
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	p.mu.Lock()
	p.interrupted = interrupt
	from := p.tracker.Low()
	p.mu.Unlock()
	r, done := p.reader(p.session.consumer.cfg.Topic, from)
	defer done()
	for {
		p.fetch(time.Now())
		m, err := r.FetchMessage(ctx)
		p.fetch(time.Time{})
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, kafka.OffsetOutOfRange):
			// The log ends before what we were handed from it. Taking the
			// partition over anew finds where it can be read.
			p.session.consumer.meters.broken(ctx)
			p.log.ErrorContext(ctx, "log ends before the reader, taking the partition over anew", slog.Int64("from", from))
			pause(ctx, askRetry)
			p.session.beginDrain("offset out of range")
			return
		case err != nil:
			p.log.WarnContext(ctx, "reader failed and is opened anew", slog.Any("error", err))
			pause(ctx, askRetry)
			return
		}
		if !p.hand(ctx, &m) {
			return
		}
	}
}

// fetch notes since when the reader is asked.
func (p *partition) fetch(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetching = since
}

// hand gives one record to the handler, unless it is done or in its hands
// already. It waits for room, and is false when reading ended before.
func (p *partition) hand(ctx context.Context, m *kafka.Message) bool {
	c := p.session.consumer
	d := NewDelivery(toRecord(*m), p)
	size := d.size()
	if !p.wait(ctx, func() bool { return !p.tracker.Full(d.Offset) }) || c.window.acquire(ctx, size) != nil {
		return false
	}
	for {
		p.mu.Lock()
		v, gap := p.tracker.Take(d.Offset)
		low := p.tracker.Low() // moved when records are missing
		soon := p.tracker.Room() < ahead/2
		if v == mark.Hand {
			p.bytes += size
		}
		p.head = max(p.head, m.HighWaterMark)
		p.mu.Unlock()
		if gap > 0 {
			c.meters.broken(ctx)
			p.log.ErrorContext(ctx, "records are missing in the log",
				slog.Int64("missing", gap), slog.Int64("offset", d.Offset), slog.Int64("watermark", low))
		}
		switch v {
		case mark.Skip:
			c.window.release(1, size)
			return true
		case mark.Wait:
			signal(p.urgent)
			if !p.wait(ctx, func() bool { return p.tracker.Room() > 0 }) {
				c.window.release(1, size)
				return false
			}
		case mark.Hand:
			if soon {
				signal(p.dirty)
			}
			c.meters.handed(ctx)
			c.handler.Handle(d)
			return true
		}
	}
}

func toRecord(m kafka.Message) Record {
	r := Record{
		Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Time: m.Time,
	}
	if len(m.Headers) > 0 {
		r.Headers = make([]broker.Header, len(m.Headers))
		for i, h := range m.Headers {
			r.Headers[i] = broker.Header{Key: h.Key, Value: h.Value}
		}
	}
	return r
}
