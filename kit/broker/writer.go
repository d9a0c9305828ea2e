package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// A batch is at most this many records and bytes, below any broker's default
// limit of one megabyte.
const (
	batchRecords = 500
	batchBytes   = 900 << 10
)

// Failed tries are repeated after these pauses, doubled and jittered.
const (
	pauseLeast = 20 * time.Millisecond
	pauseMost  = 500 * time.Millisecond
)

// probeEvery is how often a broker that failed is asked for a sign of life.
const probeEvery = 500 * time.Millisecond

// write empties a line's queue and ends.
func (p *Producer) write(l line, q *queue) {
	for batch := p.take(q); batch != nil; batch = p.take(q) {
		p.send(l, batch)
	}
}

// send writes one batch, repeating tries as long as one of its records has
// time left. Records whose time is up are given up one by one.
func (p *Producer) send(l line, batch []item) {
	var err error
	for try := 0; ; try++ {
		batch = p.expire(batch, err)
		if len(batch) == 0 {
			return
		}
		var base int64
		if base, err = p.try(l, batch); err == nil {
			p.recovered()
			p.finish(batch, func(i int, _ *item) (Position, error) {
				return Position{Partition: l.partition, Offset: base + int64(i)}, nil
			})
			return
		}
		switch {
		case errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge):
			if len(batch) > 1 { // the broker's limit is lower than ours
				p.send(l, batch[:len(batch)/2])
				p.send(l, batch[len(batch)/2:])
				return
			}
			p.finish(batch, func(int, *item) (Position, error) {
				return Position{}, fault.Newf(fault.Invalid, faultv1.Reason_REASON_MAIL_TOO_LARGE,
					"record exceeds the broker's limit").WithCause(err)
			})
			return
		case !retriable(err) || p.ctx.Err() != nil:
			p.failed()
			p.finish(batch, func(int, *item) (Position, error) {
				return Position{}, unavailable("broker did not take the record", err)
			})
			return
		}
		p.failed()
		p.relearn(l, err)
		p.pause(try)
	}
}

// expire gives up the records whose time is up and returns the others.
func (p *Producer) expire(batch []item, cause error) []item {
	now := time.Now()
	n := 0
	for n < len(batch) && !batch[n].due.After(now) { // oldest first
		n++
	}
	if n > 0 {
		p.meters.failed(p.ctx, n)
		p.finish(batch[:n], func(int, *item) (Position, error) {
			return Position{}, unavailable("broker did not acknowledge in time", cause)
		})
	}
	return batch[n:]
}

// try is one request.
func (p *Producer) try(l line, batch []item) (int64, error) {
	ctx, cancel := context.WithDeadline(p.ctx, batch[len(batch)-1].due)
	defer cancel()
	leave, err := p.client.gate.enter(ctx, l.topic)
	if err != nil {
		return 0, err
	}
	defer leave()
	start := time.Now()
	res, err := p.client.kafka.Produce(ctx, &kafka.ProduceRequest{
		Topic: l.topic, Partition: l.partition, RequiredAcks: kafka.RequireAll, Records: records(batch, start),
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return 0, err
	}
	p.meters.acked(p.ctx, len(batch), time.Since(start))
	return res.BaseOffset, nil
}

// relearn renews what is known of the cluster when the error says that it is
// out of date.
func (p *Producer) relearn(l line, err error) {
	if !errors.Is(err, kafka.NotLeaderForPartition) && !errors.Is(err, kafka.LeaderNotAvailable) &&
		!errors.Is(err, kafka.UnknownTopicOrPartition) {
		return
	}
	p.client.parts.forget(l.topic)
	ctx, cancel := context.WithTimeout(p.ctx, pauseMost)
	defer cancel()
	_ = p.client.refresh(ctx) // the next try tells
}

// pause waits between tries, or until the producer is cancelled.
func (p *Producer) pause(try int) {
	d := min(pauseLeast<<min(try, 10), pauseMost)
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
}

func (p *Producer) recovered() { p.sick.Store(false) }

// failed notes that the broker failed and has it probed until it answers.
func (p *Producer) failed() {
	if p.ctx.Err() != nil || p.sick.Swap(true) {
		return
	}
	p.probes.Go(func() {
		t := time.NewTicker(probeEvery)
		defer t.Stop()
		for p.sick.Load() {
			select {
			case <-t.C:
			case <-p.ctx.Done():
				return
			}
			ctx, cancel := context.WithTimeout(p.ctx, probeEvery)
			if p.client.Ping(ctx) == nil {
				p.recovered()
			}
			cancel()
		}
	})
}
