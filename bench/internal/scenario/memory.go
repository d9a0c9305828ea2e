package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"kurir.dev/bench/internal/load"
	"kurir.dev/bench/internal/meter"
	"kurir.dev/bench/internal/node"
	"kurir.dev/bench/internal/report"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

const (
	// standing is how long a backlog is looked at once it stands.
	standing = 10 * time.Second
	// parkingPatience is how long it may take until all of it is parked.
	parkingPatience = 10 * time.Minute
)

// memory measures the peak of the mesh's memory with a small and with a large
// backlog that a tarpit keeps in the lane and the waiting room, and what a
// query by mail id and ListLanes take with the large one beside a mesh that
// knows as many mails and has delivered them. Nothing but the backlog is to
// differ: a mesh that knows few mails has all of them in memory, one that knows
// many reads from the disk, whether they wait or not.
func memory(ctx context.Context, lab *Lab) (rows []report.Row, err error) {
	err = lab.with(ctx, func(w *world) error {
		var few, many node.Use
		err := w.mesh(ctx, w.spec(), func(mesh *node.Node, p *load.Product) error {
			_, few, err = w.stand(ctx, mesh, p, w.Sizes.Few)
			return err
		})
		if err != nil {
			return err
		}
		err = w.mesh(ctx, w.spec(), func(idle *node.Node, quiet *load.Product) error {
			sent := quiet.NewBatch(warmMail, w.Sizes.Many)
			if err := quiet.Submit(ctx, node.DefaultTenant, sent); err != nil {
				return err
			}
			if err := sent.Series.Wait(ctx, w.Sizes.Many, w.Sizes.Patience); err != nil {
				return err
			}
			return w.mesh(ctx, w.spec(), func(mesh *node.Node, p *load.Product) error {
				b, use, err := w.stand(ctx, mesh, p, w.Sizes.Many)
				if err != nil {
					return err
				}
				many = use
				busy, err := w.queries(ctx, asked{idle, sent}, asked{mesh, b}, "the backlog still being parked", nil)
				if err != nil {
					return err
				}
				if err := mesh.Rest(ctx, parkingPatience); err != nil {
					return err
				}
				// Unaffected: the same, but for noise.
				rest, err := w.queries(ctx, asked{idle, sent}, asked{mesh, b}, "the backlog parked", report.AtMost(1.2))
				rows = append(append(rows, rest...), busy...)
				return err
			})
		})
		rows = append(w.peaks(few, many), rows...)
		return err
	})
	return rows, err
}

// stand lets a backlog of n mails stand before a site in a tarpit, and tells
// what the mesh has used at the end.
func (w *world) stand(ctx context.Context, mesh *node.Node, p *load.Product, n int) (*load.Batch, node.Use, error) {
	if err := w.warm(ctx, p, 100); err != nil {
		return nil, node.Use{}, err
	}
	b := p.NewBatch(bulkMail, n)
	b.Series.Tarpit(w.Sizes.Tarpit)
	if err := p.Submit(ctx, node.DefaultTenant, b); err != nil {
		return nil, node.Use{}, err
	}
	wait := time.NewTimer(standing)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return nil, node.Use{}, context.Cause(ctx)
	}
	use, err := mesh.Use()
	w.tell("  backlog of %d, %d of them delivered: peak RSS %d MB, peak heap %d MB", n, b.Series.Count(), use.PeakRSS>>20, use.PeakHeap>>20)
	return b, use, err
}

func (w *world) peaks(few, many node.Use) []report.Row {
	row := func(name string, v float64, unit string, target *report.Target) report.Row {
		return report.Row{
			Scenario: "memory", Name: name, Value: v, Unit: unit, Target: target,
			Conditions: w.conditions(node.Unsigned, fmt.Sprintf("one site in a tarpit of %v, the mesh alone", w.Sizes.Tarpit)),
		}
	}
	mb := func(bytes float64) float64 { return bytes / (1 << 20) }
	return []report.Row{
		row(fmt.Sprintf("peak RSS at %d", w.Sizes.Few), mb(float64(few.PeakRSS)), "MB", nil),
		row(fmt.Sprintf("peak RSS at %d", w.Sizes.Many), mb(float64(many.PeakRSS)), "MB", nil),
		row(fmt.Sprintf("peak heap at %d", w.Sizes.Few), mb(float64(few.PeakHeap)), "MB", nil),
		row(fmt.Sprintf("peak heap at %d", w.Sizes.Many), mb(float64(many.PeakHeap)), "MB", nil),
		row("peak RSS, large backlog to small", meter.Ratio(float64(many.PeakRSS), float64(few.PeakRSS)), "times", report.AtMost(1.2)),
	}
}

// asked is a mesh and mails it knows.
type asked struct {
	mesh  *node.Node
	batch *load.Batch
}

// queries asks a mesh without and one with a backlog, of which state is said, in
// turns.
func (w *world) queries(ctx context.Context, without, with asked, state string, target *report.Target) (rows []report.Row, err error) {
	rnd := w.random(9)
	for _, kind := range []struct {
		name string
		ask  func(ctx context.Context, a asked, rnd *rand.Rand) error
	}{
		{"GetMail", func(ctx context.Context, a asked, rnd *rand.Rand) error {
			_, err := a.mesh.Tracker.GetMail(ctx, &trackerv1.GetMailRequest{MailId: a.batch.IDs[rnd.IntN(len(a.batch.IDs))]})
			return err
		}},
		{"ListLanes", func(ctx context.Context, a asked, _ *rand.Rand) error {
			_, err := a.mesh.Router.ListLanes(ctx, &routerv1.ListLanesRequest{})
			return err
		}},
	} {
		var times [2][]time.Duration
		for i := range w.Sizes.Queries + 20 {
			for side, a := range []asked{without, with} {
				began := w.sink.Now()
				if err := kind.ask(ctx, a, rnd); err != nil {
					return nil, fmt.Errorf("%s: %w", kind.name, err)
				}
				if i >= 20 { // the first warm up
					times[side] = append(times[side], w.sink.Now()-began)
				}
			}
		}
		rows = append(rows, w.compared(kind.name, state, target, meter.Summarise(times[0]), meter.Summarise(times[1]))...)
	}
	return rows, nil
}

func (w *world) compared(name, state string, target *report.Target, without, with meter.Latency) []report.Row {
	conditions := w.conditions(node.Unsigned, fmt.Sprintf("two meshes that know %d mails each, asked in turns, %d times each; one has delivered them, in the other they stand before a tarpit, %s", w.Sizes.Many, w.Sizes.Queries, state))
	name += ", " + state
	row := func(what string, v float64, unit string) report.Row {
		return report.Row{Scenario: "memory", Name: name + what, Value: v, Unit: unit, Conditions: conditions}
	}
	ratio := row(": p50 with to without", meter.Ratio(with.P50, without.P50), "times")
	ratio.Target = target
	return []report.Row{
		row(": without, p50", meter.Milliseconds(without.P50), "ms"),
		row(": without, p99", meter.Milliseconds(without.P99), "ms"),
		row(": with, p50", meter.Milliseconds(with.P50), "ms"),
		row(": with, p99", meter.Milliseconds(with.P99), "ms"),
		ratio,
	}
}
