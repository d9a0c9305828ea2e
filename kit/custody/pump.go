package custody

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody/mark"
)

const (
	// askRetry is the pause between questions to a broker that does not
	// answer, movedRetry to one that says another has the answer.
	askRetry, movedRetry = 200 * time.Millisecond, 50 * time.Millisecond
	// refreshPatience bounds the question who leads what; the client hears of
	// it by itself a little later.
	refreshPatience = 500 * time.Millisecond
	// lateWords, and three sessions, is how long after a takeover owners before
	// may have something to say.
	lateWords = 10 * time.Second
)

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
	begun := time.Now()
	for reading.Err() == nil {
		p.read(reading)
		if time.Since(begun) < 3*p.session.consumer.cfg.Session+lateWords {
			journal = p.late(reading, journal)
		}
	}
}

// late reads what was written to the journal since it was read last: an owner
// before us tells how mail ended that it had at the dot as it lost its lease.
func (p *partition) late(ctx context.Context, read broker.Bounds) broker.Bounds {
	if b, ok := p.journalBounds(ctx, mark.Mark{Journal: read.Last}); ok && p.recover(ctx, b) {
		return b
	}
	return read
}

// resume asks for the last commit and makes the mark to go on from.
func (p *partition) resume(ctx context.Context) (mark.Mark, bool) {
	c := p.session.consumer
	for began := time.Now(); ctx.Err() == nil; {
		committed, err := c.committed(ctx, p.id)
		var b broker.Bounds
		if err == nil {
			b, err = c.bounds(ctx, c.cfg.Topic, p.id)
		}
		if err != nil {
			if ctx.Err() == nil && !settling(err, began) && p.complaints.due("resume") {
				p.log.WarnContext(ctx, "last commit could not be read, asked again", slog.Any("error", err))
			}
			pause(ctx, askRetry)
			continue
		}
		p.see(b.Last)
		m, problem := mark.Resume(committed.CommittedOffset, committed.Metadata, b.First, b.Last)
		if problem != "" {
			p.broken(ctx, problem, slog.Int64("committed", committed.CommittedOffset),
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
		b, err := c.bounds(ctx, c.cfg.Journal, p.id)
		if err != nil {
			if ctx.Err() == nil && p.complaints.due("journal") {
				p.log.WarnContext(ctx, "journal could not be found, asked again", slog.Any("error", err))
			}
			pause(ctx, askRetry)
			continue
		}
		if m.Journal > b.Last {
			p.broken(ctx, "journal ends before its committed position, reading it whole",
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
	t := p.tail(p.session.consumer.cfg.Journal, b.First)
	for t.next < b.Last {
		r, err := t.read(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			if r.Offset < b.Last {
				p.session.consumer.handler.Recover(ctx, r)
			}
			continue
		case errors.Is(err, errGone): // trimmed meanwhile, or lost at its end
			now, asked := p.session.consumer.bounds(ctx, t.topic, p.id)
			if asked == nil && t.next < now.First {
				t.next = now.First
				continue
			}
			if asked == nil && now.Last < b.Last {
				p.broken(ctx, "journal ends before it did a moment ago", slog.Int64("log_end", now.Last))
				b.Last = now.Last
				continue
			}
		}
		if p.complaints.due("recover") {
			p.log.WarnContext(ctx, "journal does not come, asked again",
				slog.Int64("next", t.next), slog.Int64("end", b.Last), slog.Any("error", err))
		}
		p.again(ctx, err)
	}
	return ctx.Err() == nil
}

// broken counts and logs that the log is not what it should be.
func (p *partition) broken(ctx context.Context, problem string, attrs ...slog.Attr) {
	p.session.consumer.meters.broken(ctx)
	p.log.LogAttrs(ctx, slog.LevelError, "log and commit do not fit", append(attrs, slog.String("problem", problem))...)
}

// tail reads a topic's partition of this number from an offset on.
func (p *partition) tail(topic string, offset int64) *tail {
	c := p.session.consumer
	return &tail{client: c.client, topic: topic, partition: p.id, patience: c.cfg.StallAfter, next: offset}
}

// read hands out from the watermark on until records are given back, or
// reading ends.
func (p *partition) read(ctx context.Context) {
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	p.mu.Lock()
	p.interrupted = interrupt
	from := p.tracker.Low()
	p.mu.Unlock()
	t := p.tail(p.session.consumer.cfg.Topic, from)
	for {
		r, err := t.read(ctx)
		p.see(t.head)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errGone):
			if !p.skip(ctx, t) {
				return
			}
		case errors.Is(err, errStalled):
			if p.complaints.due("stalled") {
				p.log.WarnContext(ctx, "reader stands still, asked anew", slog.Int64("next", t.next), slog.Int64("head", t.head))
			}
			p.session.consumer.meters.stalled(ctx)
		case err != nil:
			if p.complaints.due("read") {
				p.log.WarnContext(ctx, "lane could not be read, trying again", slog.Int64("next", t.next), slog.Any("error", err))
			}
			p.again(ctx, err)
		default:
			r.Band = p.band
			if !p.hand(ctx, NewDelivery(r, p)) {
				return
			}
		}
	}
}

// again pauses before another try to read, and asks who leads the partition:
// who was asked may have gone.
func (p *partition) again(ctx context.Context, err error) {
	if errors.Is(err, errMoved) {
		pause(ctx, movedRetry)
	} else {
		pause(ctx, askRetry)
	}
	asking, cancel := context.WithTimeout(ctx, refreshPatience)
	defer cancel()
	_ = p.session.consumer.client.Refresh(asking) // the next try tells
}

// skip goes on at the first record there is when those before it were deleted.
// False when the log ends before what was read of it: then new records will
// bear the numbers of those that are gone, and only taking the partition over
// anew tells what is to be done.
func (p *partition) skip(ctx context.Context, t *tail) bool {
	b, err := p.session.consumer.bounds(ctx, t.topic, p.id)
	switch {
	case err != nil:
		if ctx.Err() == nil && p.complaints.due("bounds") {
			p.log.WarnContext(ctx, "end of the lane could not be asked for, asked again", slog.Any("error", err))
		}
		pause(ctx, askRetry)
	case t.next < b.First:
		p.broken(ctx, "records that were not read are deleted, reading on at the first there is",
			slog.Int64("next", t.next), slog.Int64("log_start", b.First))
		t.next = b.First
	case t.next > b.Last:
		p.broken(ctx, "log ends before the reader, taking the partition over anew",
			slog.Int64("next", t.next), slog.Int64("log_end", b.Last))
		p.session.beginDrain("log was cut")
		return false
	}
	return true
}

// room waits while the commit metadata or the window has none for another
// record, and takes it of the window. The handler hears of the wait.
func (p *partition) room(ctx context.Context, offset, size int64) bool {
	c := p.session.consumer
	free := func() bool { return !p.tracker.Full(offset) }
	p.mu.Lock()
	full := !free()
	p.mu.Unlock()
	if !full {
		if _, ok := c.window.take(p.band, size); ok {
			return true
		}
	}
	if presser, ok := c.handler.(Presser); ok {
		presser.Press(p.id, true)
		defer presser.Press(p.id, false)
	}
	if full {
		c.meters.full(ctx)
		if time.Since(p.fullTold) > time.Minute {
			p.fullTold = time.Now()
			p.log.WarnContext(ctx, "commit metadata is full, handing out pauses until gaps close", slog.Int64("next", offset))
		}
		if !p.wait(ctx, free) {
			return false
		}
	}
	return c.window.acquire(ctx, p.band, size) == nil
}

// hand gives one record to the handler, unless it is done or in its hands
// already. It waits for room, and is false when reading ended before.
func (p *partition) hand(ctx context.Context, d *Delivery) bool {
	c := p.session.consumer
	size := d.size()
	if !p.room(ctx, d.Offset, size) {
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
		p.mu.Unlock()
		if gap > 0 {
			p.broken(ctx, "records are missing",
				slog.Int64("missing", gap), slog.Int64("offset", d.Offset), slog.Int64("watermark", low))
		}
		switch v {
		case mark.Skip:
			c.window.release(p.band, 1, size)
			return true
		case mark.Wait:
			signal(p.urgent)
			if !p.wait(ctx, func() bool { return p.tracker.Room() > 0 }) {
				c.window.release(p.band, 1, size)
				return false
			}
		case mark.Hand:
			if soon {
				signal(p.dirty)
			}
			c.meters.record(ctx, handed)
			c.handler.Handle(d)
			return true
		}
	}
}
