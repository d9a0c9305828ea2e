package custody

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kurir.dev/kit/topic"
)

// session is the partitions dealt to us in a generation of the group, and one
// lease on them.
type session struct {
	consumer *Consumer
	gen      *generation
	log      *slog.Logger
	lease    *lease

	life    context.Context    //nolint:containedctx // of the deliveries, which outlive every call
	end     context.CancelFunc // ends life
	reading context.Context    //nolint:containedctx // of the handing out; ends when draining begins
	drain   context.CancelFunc // ends reading

	drainOnce sync.Once
	over      atomic.Bool // the generation is, not only the lease

	parts []*partition
}

func newSession(ctx context.Context, c *Consumer, gen *generation) *session {
	s := &session{
		consumer: c, gen: gen, lease: newLease(c.cfg.Session, c.cfg.Rebalance),
		log: c.log.With(slog.Int("generation", int(gen.id))),
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.reading, s.drain = context.WithCancel(s.life)
	ordinary := func(id int) bool { return topic.BandOf(id, gen.total) == topic.Ordinary }
	banded := c.cfg.Bands && slices.ContainsFunc(gen.partitions, ordinary)
	for _, id := range gen.partitions {
		band := topic.Ordinary
		if banded {
			band = topic.BandOf(id, gen.total)
		}
		s.parts = append(s.parts, newPartition(s, id, band))
	}
	return s
}

// run is the session from its assignment until it is let go; true when its
// generation may go on with another. ctx never ends, stop when the consumer
// shall stop.
func (s *session) run(ctx, stop context.Context) (again bool) {
	s.log.InfoContext(ctx, "partitions assigned", slog.Int("partitions", len(s.parts)))
	beating, still := context.WithCancel(ctx)
	committing, last := context.WithCancel(ctx)
	var beats, pumps, commits sync.WaitGroup
	beats.Go(func() { s.beats(beating) })
	beats.Go(func() { s.watch(s.reading) })
	for _, p := range s.parts {
		pumps.Go(func() { p.pump(s.reading) })
		commits.Go(func() { p.commits(committing) })
	}

	select {
	case <-stop.Done():
		s.beginDrain("consumer stops")
	case <-s.reading.Done():
	}
	s.settle(&pumps)
	pumps.Wait() // a handler that blocks returns when life ends
	last()
	commits.Wait()
	for _, p := range s.parts {
		p.finish(ctx)
		p.close()
		s.consumer.handler.Revoke(p.id)
	}
	still()
	beats.Wait()
	s.log.InfoContext(ctx, "partitions released", slog.Int("partitions", len(s.parts)))
	return !s.over.Load() && stop.Err() == nil
}

// beginDrain stops handing out; only the first call counts.
func (s *session) beginDrain(why string) {
	s.drainOnce.Do(func() {
		s.log.InfoContext(s.life, "draining", slog.String("reason", why))
		s.drain()
	})
}

// settle waits until nothing is in flight, at most for Drain, and no longer
// than the lease holds.
func (s *session) settle(pumps *sync.WaitGroup) {
	quiet := make(chan struct{})
	var waiter sync.WaitGroup
	waiter.Go(func() {
		pumps.Wait()
		for _, p := range s.parts {
			p.quiet(s.life)
		}
		close(quiet)
	})
	defer waiter.Wait()
	bound := time.NewTimer(s.consumer.cfg.Drain)
	defer bound.Stop()
	select {
	case <-quiet:
	case <-s.lease.gone:
	case <-bound.C:
		s.log.WarnContext(s.life, "records still in flight after draining")
	}
	s.end() // unblocks the waiter, and whatever is still in flight
}

// watch looks for records given back, and as the group's leader for partitions
// that nobody has.
func (s *session) watch(ctx context.Context) {
	tick := time.NewTicker(min(time.Second, s.consumer.cfg.StallAfter/2))
	defer tick.Stop()
	count := time.NewTicker(watchPartitions)
	defer count.Stop()
	for {
		select {
		case <-tick.C:
		case <-count.C:
			if n, err := s.consumer.partitions(ctx); s.gen.leader && err == nil && n != s.gen.total {
				s.over.Store(true)
				s.beginDrain("partitions were added")
			}
		case <-ctx.Done():
			return
		}
		for _, p := range s.parts {
			p.nudge()
		}
	}
}
