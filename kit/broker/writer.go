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

// A request that hangs is given up for another try after this part of the
// time a record has, and not before the least: the leader may be elsewhere.
const (
	tryShare = 3
	tryLeast = time.Second
)

// write empties a line's queue and ends.
func (p *Producer) write(l line, q *queue) {
	for batch := p.take(q); batch != nil; batch = p.take(q) {
		p.send(l, q, batch)
	}
}

// send writes one batch, and what joins it from q, repeating tries as long as one
// of its records has time left and the broker is not gone. Records whose time is
// up are given up one by one. Without q nothing joins.
func (p *Producer) send(l line, q *queue, batch []item) {
	var err error
	for try := 0; ; try++ {
		batch = p.expire(l, batch, err)
		if len(batch) == 0 {
			return
		}
		present := p.pulse.present()
		if present.Err() != nil {
			p.giveUp(l, batch, errGone)
			return
		}
		var base int64
		if base, batch, err = p.try(present, l, q, batch); err == nil {
			p.pulse.answered(l)
			p.finish(batch, func(i int, _ *item) (Position, error) {
				return Position{Partition: l.partition, Offset: base + int64(i)}, nil
			})
			return
		}
		switch {
		case errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge):
			if len(batch) > 1 { // the broker's limit is lower than ours
				p.send(l, nil, batch[:len(batch)/2])
				p.send(l, nil, batch[len(batch)/2:])
				return
			}
			p.finish(batch, func(int, *item) (Position, error) {
				return Position{}, fault.Newf(fault.Invalid, faultv1.Reason_REASON_MAIL_TOO_LARGE,
					"record exceeds the broker's limit").WithCause(err)
			})
			return
		case p.ctx.Err() != nil:
			p.giveUp(l, batch, err)
			return
		case present.Err() != nil: // the broker is gone
			continue
		case !retriable(err):
			p.giveUp(l, batch, err)
			return
		}
		p.failed(l, err)
		p.pause(present, try)
	}
}

// Why records are given up before their time, or not taken at all.
var (
	errGone = errors.New("no broker answers")
	errFull = errors.New("broker's disk takes no records")
)

// giveUp ends records whose outcome is not known.
func (p *Producer) giveUp(l line, batch []item, cause error) {
	p.meters.failed(p.ctx, len(batch))
	p.pulse.gaveUp(l)
	p.finish(batch, func(int, *item) (Position, error) {
		return Position{}, unavailable("broker did not take the record", cause)
	})
}

// expire gives up the records whose time is up and returns the others.
func (p *Producer) expire(l line, batch []item, cause error) []item {
	now := time.Now()
	n := 0
	for n < len(batch) && !batch[n].due.After(now) { // oldest first
		n++
	}
	if n > 0 {
		p.meters.failed(p.ctx, n)
		p.pulse.gaveUp(l)
		p.finish(batch[:n], func(int, *item) (Position, error) {
			return Position{}, unavailable(late(cause), cause)
		})
	}
	return batch[n:]
}

// late says what the last try of a record came to whose time is up.
func late(cause error) string {
	if errors.Is(cause, kafka.KafkaStorageError) {
		return errFull.Error()
	}
	return "broker did not acknowledge in time"
}

// try is one request; it ends when the broker is gone. It returns where the
// first record landed and the batch with what joined it.
func (p *Producer) try(present context.Context, l line, q *queue, batch []item) (int64, []item, error) {
	ctx, cancel := context.WithDeadline(present, batch[len(batch)-1].due)
	defer cancel()
	leave, err := p.client.gate.enter(ctx, l.topic)
	if err != nil {
		return 0, batch, err
	}
	batch = p.more(q, batch)
	defer leave(len(batch))
	ctx, cancel = context.WithTimeout(ctx, max(p.client.cfg.ProduceTimeout/tryShare, tryLeast))
	defer cancel()
	defer p.pulse.watch()()
	start := time.Now()
	res, err := p.client.kafka.Produce(ctx, &kafka.ProduceRequest{
		Topic: l.topic, Partition: l.partition, RequiredAcks: kafka.RequireAll, Records: records(batch, start),
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return 0, batch, err
	}
	p.meters.acked(p.ctx, len(batch), time.Since(start))
	return res.BaseOffset, batch, nil
}

// failed notes a try that failed and renews what is known of the cluster when
// that is out of date: its leader is another, or does not answer.
func (p *Producer) failed(l line, err error) {
	ke, answered := errors.AsType[kafka.Error](err)
	switch {
	case !answered || errors.Is(ke, kafka.BrokerNotAvailable):
		p.pulse.unanswered()
	case errors.Is(ke, kafka.KafkaStorageError):
		p.pulse.refused(l) // of a cluster, another may lead soon
	case !moved(err):
		return
	}
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		p.client.parts.forget(l.topic)
	}
	ctx, cancel := context.WithTimeout(p.ctx, pauseMost)
	defer cancel()
	_ = p.client.Refresh(ctx) // the next try tells
}

// pause waits between tries, or until there is no use in another.
func (p *Producer) pause(ctx context.Context, try int) {
	d := min(pauseLeast<<min(try, 10), pauseMost)
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
