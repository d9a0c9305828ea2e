package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"kurir.dev/kit/custody/mark"
	"kurir.dev/kit/topic"
)

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// groups asks for every group there is.
func (e *Broker) groups(ctx context.Context) ([]*kfake.GroupInfo, error) {
	res, err := e.kafka.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return nil, fmt.Errorf("listing groups: %w", err)
	}
	var infos []*kfake.GroupInfo
	for _, g := range res.Groups {
		if info := e.cluster.GroupInfo(g.GroupID); info != nil {
			infos = append(infos, info)
		}
	}
	return infos, nil
}

// Trim deletes the records that every group which ever committed on their
// partition is done with, and that no dispatcher would read back as journal.
// A partition that nobody committed on keeps everything. The last batch always
// stays: a log that is trimmed whole starts again at offset zero after a
// restart. Disk is freed segment by segment.
func (e *Broker) Trim(ctx context.Context) error {
	groups, err := e.groups(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for at, floor := range floors(groups) {
		info := e.cluster.PartitionInfo(at.topic, at.partition)
		if info == nil {
			continue
		}
		to := min(floor, info.HighWatermark-1)
		if to <= info.LogStartOffset {
			continue
		}
		if err := e.cluster.DeleteRecords(at.topic, at.partition, to); err != nil {
			errs = append(errs, fmt.Errorf("trimming %s-%d: %w", at.topic, at.partition, err))
		}
	}
	return errors.Join(errs...)
}

// floors says for each partition below which offset nobody needs anything:
// the lowest watermark of all groups, and on an outcome topic the lowest
// journal position committed with its lane. An outcome topic without a reader
// of its own keeps everything, for its reader may be yet to come.
func floors(groups []*kfake.GroupInfo) map[place]int64 {
	marks := make(map[place]int64)
	journals := make(map[place]int64)
	lower := func(m map[place]int64, at place, offset int64) {
		if have, ok := m[at]; !ok || offset < have {
			m[at] = offset
		}
	}
	for _, g := range groups {
		for name, parts := range g.Commits {
			for p, c := range parts {
				lower(marks, place{name, p}, c.Offset)
				journal, ok := topic.OutcomeOf(name)
				if !ok {
					continue
				}
				needed := int64(0) // metadata that says nothing may need everything
				if m, err := mark.Parse(c.Offset, c.Metadata); err == nil && c.Metadata != "" {
					needed = max(m.Journal, 0)
				}
				lower(journals, place{journal, p}, needed)
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

// verify compares what was committed with what the log holds. A commit beyond
// the log's end means that records are gone, and that new ones will get the
// offsets of those that were done: the group starts again where the log
// starts, and its journal tells it what is done. It is logged as an error and
// counted as one by whoever watches logs, for it must not happen.
func (e *Broker) verify(ctx context.Context) error {
	groups, err := e.groups(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		for name, parts := range g.Commits {
			for p, c := range parts {
				info := e.cluster.PartitionInfo(name, p)
				if info == nil || c.Offset <= info.HighWatermark {
					continue
				}
				e.log.ErrorContext(ctx, "committed offset beyond the log, group starts again",
					slog.String("group", g.Group), slog.String("topic", name), slog.Int("partition", int(p)),
					slog.Int64("committed", c.Offset), slog.Int64("log_start", info.LogStartOffset),
					slog.Int64("log_end", info.HighWatermark))
				if err := e.reset(ctx, g.Group, name, p, info.LogStartOffset); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (e *Broker) reset(ctx context.Context, group, name string, partition int32, offset int64) error {
	res, err := e.kafka.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{name: {{Partition: int(partition), Offset: offset}}},
	})
	if err != nil {
		return fmt.Errorf("resetting group %q: %w", group, err)
	}
	for _, p := range res.Topics[name] {
		if p.Error != nil {
			return fmt.Errorf("resetting group %q: %w", group, p.Error)
		}
	}
	return nil
}
