package custody

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/custody/mark"
)

// ahead is how many records may be handed out beyond what a commit knew of:
// the next commit is due long before they are used up.
const ahead = mark.Ahead

// commitRetry is the pause after a commit that failed.
const commitRetry = 100 * time.Millisecond

// commits is the partition's only committer: commits cannot overtake one
// another. When ctx ends it finishes the one under way, and leaves the last to
// [partition.finish].
func (p *partition) commits(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.urgent:
		case <-p.dirty:
			p.linger(ctx)
		}
		if err := p.commit(context.WithoutCancel(ctx), false); err != nil {
			p.failed(ctx, err)
			signal(p.dirty)
			pause(ctx, commitRetry)
		}
	}
}

// linger lets completions gather for one commit.
func (p *partition) linger(ctx context.Context) {
	t := time.NewTimer(p.session.consumer.cfg.CommitEvery)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.urgent:
	case <-ctx.Done():
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// commit tells the group what is done; last when nothing more will be.
func (p *partition) commit(ctx context.Context, last bool) error {
	p.mu.Lock()
	if p.tracker == nil {
		p.mu.Unlock()
		return nil
	}
	m := p.tracker.Mark(ahead, p.session.consumer.cfg.JournalRewind)
	if last {
		m = p.tracker.Last(ahead, p.session.consumer.cfg.JournalRewind)
	}
	p.promised = m.Tried
	p.mu.Unlock()
	if err := p.send(ctx, m); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tracker.Committed(m)
	p.committed, p.journal = true, m.Journal
	p.notify()
	return nil
}

// send is the request, fenced by generation and member.
func (p *partition) send(ctx context.Context, m mark.Mark) error {
	c := p.session.consumer
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Session/2)
	defer cancel()
	res, err := c.client.Kafka().OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: c.cfg.Group, GenerationID: int(p.session.gen.id), MemberID: p.session.gen.member,
		Topics: map[string][]kafka.OffsetCommit{c.cfg.Topic: {{Partition: p.id, Offset: m.Low, Metadata: m.Encode()}}},
	})
	if err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	for _, r := range res.Topics[c.cfg.Topic] {
		if r.Error != nil {
			return fmt.Errorf("committing: %w", r.Error)
		}
	}
	return nil
}

// failed notes a commit that failed; one that was fenced ends the lease.
func (p *partition) failed(ctx context.Context, err error) {
	p.session.consumer.meters.uncommitted(ctx)
	if p.complaints.due("commit") {
		p.log.WarnContext(ctx, "commit failed, trying again", slog.Any("error", err))
	}
	if fenced(err) {
		p.session.lose(ctx, err)
	}
}

// finish makes the last commit of a drained partition, as long as the lease
// holds.
func (p *partition) finish(ctx context.Context) {
	p.mu.Lock()
	nothing := p.tracker == nil
	p.mu.Unlock()
	if nothing || !p.Alive() {
		return
	}
	for try := 0; try < 3 && p.Alive(); try++ {
		err := p.commit(ctx, true)
		if err == nil {
			return
		}
		p.failed(ctx, err)
		pause(ctx, commitRetry)
	}
}
