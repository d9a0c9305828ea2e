package embedded

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker/embedded/internal/catalog"
	"kurir.dev/kit/custody/mark"
	"kurir.dev/kit/topic"
)

// Trim deletes the records that every group which ever committed on their
// partition is done with, and that no dispatcher would read back as journal.
// A partition that nobody committed on keeps everything. Disk is freed segment
// by segment.
func (e *Broker) Trim(ctx context.Context) error {
	if err := e.topics.Trim(ctx, e.floors()); err != nil {
		return fmt.Errorf("trimming: %w", err)
	}
	return nil
}

// floors says for each partition below which offset nobody needs anything:
// the lowest watermark of all groups, and on an outcome topic the lowest
// journal position committed with its lane. An outcome topic without a reader
// of its own keeps everything, for its reader may be yet to come.
func (e *Broker) floors() map[catalog.Place]int64 {
	marks := make(map[catalog.Place]int64)
	journals := make(map[catalog.Place]int64)
	lower := func(m map[catalog.Place]int64, at catalog.Place, offset int64) {
		if have, ok := m[at]; !ok || offset < have {
			m[at] = offset
		}
	}
	for at := range e.places {
		outcome, lane := topic.OutcomeOf(at.Topic)
		for group, offset := range e.groups.Committed(at.Topic, at.Partition) {
			lower(marks, at, offset)
			if lane {
				lower(journals, catalog.Place{Topic: outcome, Partition: at.Partition}, e.journal(group, at))
			}
		}
	}
	for at, offset := range journals {
		if have, ok := marks[at]; ok {
			marks[at] = min(have, offset)
		}
	}
	return marks
}

// places yields all partitions.
func (e *Broker) places(yield func(catalog.Place) bool) {
	for _, name := range e.topics.Names() {
		for p := range e.topics.Partitions(name) {
			if !yield(catalog.Place{Topic: name, Partition: int32(p)}) {
				return
			}
		}
	}
}

// journal is the position in the outcome topic that a group needs, by what it
// committed with its offset. Metadata that says nothing may need everything.
func (e *Broker) journal(group string, at catalog.Place) int64 {
	q := kmsg.NewPtrOffsetFetchRequest()
	q.Version, q.Group = 5, group
	t := kmsg.NewOffsetFetchRequestTopic()
	t.Topic, t.Partitions = at.Topic, []int32{at.Partition}
	q.Topics = append(q.Topics, t)
	for _, t := range e.groups.Fetch(q).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 || p.Metadata == nil || *p.Metadata == "" {
				continue
			}
			if m, err := mark.Parse(p.Offset, *p.Metadata); err == nil {
				return max(m.Journal, 0)
			}
		}
	}
	return 0
}

// verify compares what was committed with what the log holds. A commit beyond
// the log's end means that records are gone, and that new ones will get the
// offsets of those that were done: the group starts again where the log
// starts, and its journal tells it what is done. It is logged as an error and
// counted as one by whoever watches logs, for it must not happen.
func (e *Broker) verify(ctx context.Context) error {
	for at := range e.places {
		start, end := e.topics.Log(at.Topic, at.Partition).Bounds()
		for group, offset := range e.groups.Committed(at.Topic, at.Partition) {
			if offset <= end {
				continue
			}
			e.log.ErrorContext(ctx, "committed offset beyond the log, group starts again",
				slog.String("group", group), slog.String("topic", at.Topic), slog.Int("partition", int(at.Partition)),
				slog.Int64("committed", offset), slog.Int64("log_start", start), slog.Int64("log_end", end))
			if err := e.reset(ctx, group, at, start); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Broker) reset(ctx context.Context, group string, at catalog.Place, offset int64) error {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.Generation = 7, group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = at.Topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = at.Partition, offset
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	for _, t := range e.groups.Commit(ctx, q).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return fmt.Errorf("resetting group %q on %s-%d: error code %d", group, at.Topic, at.Partition, p.ErrorCode)
			}
		}
	}
	return nil
}
