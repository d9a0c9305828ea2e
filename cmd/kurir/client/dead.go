package client

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"kurir.dev/kit/telemetry"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// DeadList lists the dead topic.
type DeadList struct {
	Operate

	Topic string `help:"Only what lay on this topic."`
}

// Run prints its records.
func (l *DeadList) Run(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	var records []*routerv1.DeadRecord
	err := l.ask(ctx, t, func(ctx context.Context, c routerv1.RouterServiceClient) error {
		for token := ""; ; {
			res, err := c.ListDead(ctx, &routerv1.ListDeadRequest{Topic: l.Topic, PageSize: 1000, PageToken: token})
			if err != nil {
				return err
			}
			if records, token = append(records, res.GetRecords()...), res.GetNextPageToken(); token == "" {
				return nil
			}
		}
	})
	if err != nil {
		return err
	}
	return table(w, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tDIED\tCAME FROM\tMAIL\tREPLAYED\tREPLAY OF\tWHY")
		for _, r := range records {
			replayed := "-"
			if r.GetReplayedAt() != nil {
				replayed = r.GetReplayedAt().AsTime().Local().Format(time.DateTime)
			}
			fmt.Fprintf(w, "%s\t%s\t%s-%d@%d\t%s\t%s\t%s\t%s\n", r.GetId(), r.GetDiedAt().AsTime().Local().Format(time.DateTime),
				r.GetTopic(), r.GetPartition(), r.GetOffset(), dash(r.GetMailId()), replayed, dash(r.GetReplayOf()), r.GetReason())
		}
	})
}

// DeadShow shows one dead record.
type DeadShow struct {
	Operate

	ID string `arg:"" name:"id" help:"Id of the dead record, such as 0-12."`
}

// Run prints what may be seen of it.
func (s *DeadShow) Run(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	var res *routerv1.GetDeadResponse
	err := s.ask(ctx, t, func(ctx context.Context, c routerv1.RouterServiceClient) (err error) {
		res, err = c.GetDead(ctx, &routerv1.GetDeadRequest{Id: s.ID})
		return err
	})
	if err != nil {
		return err
	}
	r := res.GetRecord()
	opens := "yes: a replay helps"
	if !res.GetOpens() {
		opens = "no: " + res.GetProblem()
	}
	return table(w, func(w io.Writer) {
		fmt.Fprintf(w, "id\t%s\ndied\t%s\nwhy\t%s\ncame from\t%s partition %d offset %d\nbytes\t%d\nopens now\t%s\n", r.GetId(),
			r.GetDiedAt().AsTime().Local().Format(time.DateTime), r.GetReason(), r.GetTopic(), r.GetPartition(), r.GetOffset(), r.GetBytes(), opens)
		if r.GetReplayedAt() != nil {
			fmt.Fprintf(w, "replayed\t%s\n", r.GetReplayedAt().AsTime().Local().Format(time.DateTime))
		}
		if r.GetReplayOf() != "" {
			fmt.Fprintf(w, "replay of\t%s\n", r.GetReplayOf())
		}
		for _, name := range slices.Sorted(maps.Keys(r.GetHeaders())) {
			fmt.Fprintf(w, "%s\t%s\n", name, r.GetHeaders()[name])
		}
	})
}

// DeadReplay puts dead records back.
type DeadReplay struct {
	Operate

	IDs   []string `arg:"" name:"id" help:"Ids of dead records, such as 0-12."`
	Again bool     `help:"Replay what was replayed before."`
}

// Run replays one after the other and stops at the first that cannot be.
func (d *DeadReplay) Run(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	return d.ask(ctx, t, func(ctx context.Context, c routerv1.RouterServiceClient) error {
		for _, id := range d.IDs {
			res, err := c.ReplayDead(ctx, &routerv1.ReplayDeadRequest{Id: id, Again: d.Again})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s is back on %s, partition %d, offset %d\n", id, res.GetTopic(), res.GetPartition(), res.GetOffset()); err != nil {
				return err
			}
		}
		return nil
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
