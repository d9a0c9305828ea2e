package scenario

import (
	"context"
	"fmt"
	"time"

	"kurir.dev/bench/internal/load"
	"kurir.dev/bench/internal/meter"
	"kurir.dev/bench/internal/node"
	"kurir.dev/bench/internal/report"
	"kurir.dev/kit/lane"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

const (
	// slowDomain is the site with a limit.
	slowDomain = "lambat.example"
	// most visits of the waiting room, and seconds for the fast mail, that are
	// aimed at.
	mostVisits, mostSeconds = 2, 10
	// sampled bounds how many mails are asked after.
	sampled = 5000
)

// parking measures how long mail for a fast site takes behind mail of the same
// tenant for a site that takes little a second, and how often that goes through
// the waiting room until it is delivered.
func parking(ctx context.Context, lab *Lab) (rows []report.Row, err error) {
	err = lab.with(ctx, func(w *world) error {
		spec := w.spec()
		spec.Rates = map[string]float64{"mx." + slowDomain: w.Sizes.Limit}
		slow, fast, err := w.mixed(ctx, spec)
		if err != nil {
			return err
		}
		return w.mesh(ctx, spec, func(mesh *node.Node, _ *load.Product) error {
			began := w.sink.Now()
			if err := fast.Series.Wait(ctx, w.Sizes.Fast, w.Sizes.Patience); err != nil {
				return err
			}
			out, ahead := fast.Series.Last()-began, slow.Series.Count()
			w.tell("  %d fast mails out after %v, with %d slow ones", w.Sizes.Fast, out.Round(time.Millisecond), ahead)
			if err := slow.Series.Wait(ctx, w.Sizes.Slow, w.Sizes.Patience); err != nil {
				return err
			}
			rate := float64(w.Sizes.Slow) / (slow.Series.Last() - began).Seconds()
			if again := slow.Series.Again() + fast.Series.Again(); again > 0 {
				return fmt.Errorf("%d mails came twice", again)
			}
			if err := mesh.Quiet(ctx); err != nil {
				return err
			}
			most, mean, err := visits(ctx, mesh, slow)
			if err != nil {
				return err
			}
			rows = w.parked(out, ahead, rate, most, mean)
			return nil
		})
	})
	return rows, err
}

// mixed has the slow mails accepted, then the fast ones, and none delivered.
func (w *world) mixed(ctx context.Context, spec node.Spec) (slow, fast *load.Batch, err error) {
	spec.Lanes = []string{lane.OTP}
	err = w.mesh(ctx, spec, func(_ *node.Node, p *load.Product) error {
		slow, fast = p.NewBatchTo(slowDomain, bulkMail, w.Sizes.Slow), p.NewBatch(fastMail, w.Sizes.Fast)
		if err := p.Submit(ctx, node.DefaultTenant, slow); err != nil {
			return err
		}
		return p.Submit(ctx, node.DefaultTenant, fast)
	})
	return slow, fast, err
}

// visits is how often mails were deferred, at most and on the average, of a
// sample of a batch.
func visits(ctx context.Context, mesh *node.Node, b *load.Batch) (most, mean float64, err error) {
	step, n := max(len(b.IDs)/sampled, 1), 0.0
	for i := 0; i < len(b.IDs); i += step {
		res, err := mesh.Tracker.GetMail(ctx, &trackerv1.GetMailRequest{MailId: b.IDs[i]})
		if err != nil {
			return 0, 0, fmt.Errorf("asking after a mail: %w", err)
		}
		deferred := 0.0
		for _, e := range res.GetTimeline() {
			if e.GetType() == eventsv1.EventType_EVENT_TYPE_DEFERRED {
				deferred++
			}
		}
		most, mean, n = max(most, deferred), mean+deferred, n+1
	}
	return most, meter.Ratio(mean, n), nil
}

func (w *world) parked(out time.Duration, ahead int, rate, most, mean float64) []report.Row {
	conditions := w.conditions(node.Unsigned, fmt.Sprintf("%d mails of one tenant for a site limited to %g/s, then %d of the same for another; a dispatcher that finds all of it",
		w.Sizes.Slow, w.Sizes.Limit, w.Sizes.Fast))
	row := func(name string, v float64, unit string, target *report.Target) report.Row {
		return report.Row{Scenario: "parking", Name: name, Value: v, Unit: unit, Target: target, Conditions: conditions}
	}
	return []report.Row{
		row("fast mail, the last out after", out.Seconds(), "s", report.AtMost(mostSeconds)),
		row("slow mail delivered by then", float64(ahead), "mails", nil),
		row("slow mail, rate", rate, "mails/s", nil),
		row("slow mail, visits of the waiting room, most", most, "", report.AtMost(mostVisits)),
		row("slow mail, visits of the waiting room, mean", mean, "", nil),
	}
}
