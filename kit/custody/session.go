package custody

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// session is one generation of the group: the partitions dealt to us in it,
// and the lease on them.
type session struct {
	consumer *Consumer
	gen      *kafka.Generation
	log      *slog.Logger
	lease    *lease

	life    context.Context    //nolint:containedctx // of the deliveries, which outlive every call
	end     context.CancelFunc // ends life
	reading context.Context    //nolint:containedctx // of the handing out; ends when draining begins
	drain   context.CancelFunc // ends reading

	drainOnce sync.Once
	finished  chan struct{} // closed when drained and committed

	parts []*partition
}

func newSession(ctx context.Context, c *Consumer, gen *kafka.Generation) *session {
	s := &session{
		consumer: c, gen: gen, lease: newLease(c.cfg.Session),
		finished: make(chan struct{}),
		log:      c.log.With(slog.Int("generation", int(gen.ID))),
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.reading, s.drain = context.WithCancel(s.life)
	for _, a := range gen.Assignments[c.cfg.Topic] {
		s.parts = append(s.parts, newPartition(s, a.ID))
	}
	return s
}

// run is the session from its assignment until it is let go. ctx never ends,
// gen ends with the generation, stop when the consumer shall stop.
func (s *session) run(ctx, gen, stop context.Context) {
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
	case <-gen.Done():
		s.beginDrain("generation ended")
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
	close(s.finished)
	if stop.Err() != nil {
		<-gen.Done() // stay a member until the group is left
	}
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

// watch looks for records given back.
func (s *session) watch(ctx context.Context) {
	tick := time.NewTicker(min(time.Second, s.consumer.cfg.StallAfter/2))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, p := range s.parts {
			p.nudge()
		}
	}
}
