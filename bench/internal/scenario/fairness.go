package scenario

import (
	"context"
	"fmt"

	"kurir.dev/bench/internal/load"
	"kurir.dev/bench/internal/meter"
	"kurir.dev/bench/internal/node"
	"kurir.dev/bench/internal/report"
	"kurir.dev/kit/lane"
)

// fairness measures what the mails of small tenants take, from the call to the
// sink's 250, behind the backlog of a big one in the same lane, against the
// same with no big one. Idle rounds lie before and after. The first of each
// tenant after the mesh has started are told of apart, for before idle rounds,
// too, it is warm.
func fairness(ctx context.Context, lab *Lab) (rows []report.Row, err error) {
	err = lab.with(ctx, func(w *world) error {
		spec := w.spec()
		var shots *load.Shots
		var idle, first, flooded load.Outcome
		round := func(mesh *node.Node, p *load.Product, use uint64) (load.Outcome, error) {
			o, err := w.small(ctx, p, shots, use, w.Sizes.Each)
			if err == nil {
				err = mesh.Quiet(ctx)
			}
			return o, err
		}
		rest := func(mesh *node.Node, p *load.Product, use uint64) error {
			if err := mesh.Quiet(ctx); err != nil {
				return err
			}
			if err := w.warm(ctx, p, 50); err != nil {
				return err
			}
			o, err := round(mesh, p, use)
			w.tell("  idle: %s", brief(o))
			add(&idle, o)
			return err
		}
		if err := w.mesh(ctx, spec, func(mesh *node.Node, p *load.Product) error {
			shots = p.NewShots(smallMail, w.Sizes.Tenants*(4*w.Sizes.Each+1))
			return rest(mesh, p, 1)
		}); err != nil {
			return err
		}
		big, err := w.backlog(ctx, spec, "big", w.Sizes.Backlog)
		if err != nil {
			return err
		}
		if err := w.mesh(ctx, spec, func(mesh *node.Node, p *load.Product) error {
			if first, err = w.small(ctx, p, shots, 102, 1); err != nil {
				return err
			}
			w.tell("  right after the start: %s", brief(first))
			if flooded, err = w.small(ctx, p, shots, 2, w.Sizes.Each); err != nil {
				return err
			}
			w.tell("  behind %d mails of one tenant, %d of them delivered by the end: %s", w.Sizes.Backlog, big.Series.Count(), brief(flooded))
			if err := big.Series.Wait(ctx, w.Sizes.Backlog, w.Sizes.Patience); err != nil {
				return err
			}
			return rest(mesh, p, 3)
		}); err != nil {
			return err
		}
		rows = w.fair(idle, first, flooded)
		return nil
	})
	return rows, err
}

// small sends so many mails of each small tenant, in turns, at the rate.
func (w *world) small(ctx context.Context, p *load.Product, shots *load.Shots, use uint64, each int) (load.Outcome, error) {
	part, err := shots.Poisson(ctx, w.random(use), w.Sizes.Rate, w.Sizes.Tenants*each, never, p.Small(w.Sizes.Tenants))
	if err != nil {
		return load.Outcome{}, err
	}
	// A mail behind the whole backlog is late, not lost.
	if err := shots.Arrive(ctx, part, 10*w.Sizes.Patience); err != nil {
		return load.Outcome{}, err
	}
	return shots.Outcome(part), nil
}

// backlog has n bulk mails of a tenant accepted and none delivered, by a mesh
// whose dispatcher serves the OTP lane alone.
func (w *world) backlog(ctx context.Context, spec node.Spec, tenant string, n int) (b *load.Batch, err error) {
	spec.Lanes = []string{lane.OTP}
	err = w.mesh(ctx, spec, func(_ *node.Node, p *load.Product) error {
		b = p.NewBatch(bulkMail, n)
		if err := p.Submit(ctx, tenant, b); err != nil {
			return err
		}
		w.tell("  %d bulk mails accepted, none delivered", n)
		return nil
	})
	return b, err
}

func (w *world) fair(idle, first, flooded load.Outcome) []report.Row {
	pace := fmt.Sprintf("%d tenants, %d mails each, by a Poisson process at %g/s", w.Sizes.Tenants, w.Sizes.Each, w.Sizes.Rate)
	rows := latency("fairness", "small tenants, idle", idle, w.conditions(node.Unsigned, pace+", nobody else"))
	rows = append(rows, latency("fairness", "small tenants, flooded", flooded,
		w.conditions(node.Unsigned, fmt.Sprintf("%s, behind %d mails of another in the same lane", pace, w.Sizes.Backlog)))...)
	rows = append(rows, latency("fairness", "small tenants, flooded, right after the start", first,
		w.conditions(node.Unsigned, fmt.Sprintf("the first of each after a mesh with %d mails of another in the same lane has started", w.Sizes.Backlog)))...)
	return append(rows, report.Row{
		Scenario: "fairness", Name: "small tenants, p99 to idle", Unit: "times", Target: report.AtMost(1.5),
		Value:      meter.Ratio(meter.Summarise(flooded.Times).P99, meter.Summarise(idle.Times).P99),
		Conditions: w.conditions(node.Unsigned, pace+", in the same run"),
	})
}
