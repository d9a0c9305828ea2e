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
// same with no big one. Idle rounds lie before and after.
func fairness(ctx context.Context, lab *Lab) (rows []report.Row, err error) {
	err = lab.with(ctx, func(w *world) error {
		spec := w.spec()
		var shots *load.Shots
		var idle, flooded load.Outcome
		round := func(mesh *node.Node, p *load.Product, use uint64) (load.Outcome, error) {
			o, err := w.small(ctx, p, shots, use)
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
			shots = p.NewShots(smallMail, 4*w.Sizes.Tenants*w.Sizes.Each)
			return rest(mesh, p, 1)
		}); err != nil {
			return err
		}
		big, err := w.backlog(ctx, spec, "big", w.Sizes.Backlog)
		if err != nil {
			return err
		}
		if err := w.mesh(ctx, spec, func(mesh *node.Node, p *load.Product) error {
			if flooded, err = w.small(ctx, p, shots, 2); err != nil {
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
		rows = w.fair(idle, flooded)
		return nil
	})
	return rows, err
}

// small sends the mails of the small tenants, in turns, at the rate.
func (w *world) small(ctx context.Context, p *load.Product, shots *load.Shots, use uint64) (load.Outcome, error) {
	part, err := shots.Poisson(ctx, w.random(use), w.Sizes.Rate, w.Sizes.Tenants*w.Sizes.Each, never, p.Small(w.Sizes.Tenants))
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

func (w *world) fair(idle, flooded load.Outcome) []report.Row {
	pace := fmt.Sprintf("%d tenants, %d mails each, by a Poisson process at %g/s", w.Sizes.Tenants, w.Sizes.Each, w.Sizes.Rate)
	rows := latency("fairness", "small tenants, idle", idle, w.conditions(node.Unsigned, pace+", nobody else"))
	rows = append(rows, latency("fairness", "small tenants, flooded", flooded,
		w.conditions(node.Unsigned, fmt.Sprintf("%s, behind %d mails of another in the same lane", pace, w.Sizes.Backlog)))...)
	return append(rows, report.Row{
		Scenario: "fairness", Name: "small tenants, p99 to idle", Unit: "times", Target: report.AtMost(1.5),
		Value:      meter.Ratio(meter.Summarise(flooded.Times).P99, meter.Summarise(idle.Times).P99),
		Conditions: w.conditions(node.Unsigned, pace+", in the same run"),
	})
}
