package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"kurir.dev/bench/internal/load"
	"kurir.dev/bench/internal/meter"
	"kurir.dev/bench/internal/node"
	"kurir.dev/bench/internal/report"
	"kurir.dev/kit/lane"
)

// slip is the share of a floor that may be missing.
const slip = 0.10

// floor measures how fast a backlog of bulk mail is delivered alone, and while
// OTPs are sent as fast as they go; rounds of both in turns.
func floor(ctx context.Context, lab *Lab) (rows []report.Row, err error) {
	err = lab.with(ctx, func(w *world) error {
		spec := w.spec()
		b, err := w.backlog(ctx, spec, node.DefaultTenant, w.Sizes.Floor)
		if err != nil {
			return err
		}
		var alone, beside, urgent []float64
		err = w.mesh(ctx, spec, func(_ *node.Node, p *load.Product) error {
			shots := p.NewShots(otpMail, shots)
			if err := b.Series.Wait(ctx, max(w.Sizes.Floor/50, 1), w.Sizes.Patience); err != nil { // until it runs
				return err
			}
			for range max(w.Sizes.Rounds-1, 1) {
				rate, _, err := w.window(ctx, p, b, nil)
				if err != nil {
					return err
				}
				alone = append(alone, rate)
				rate, otps, err := w.window(ctx, p, b, shots)
				if err != nil {
					return err
				}
				beside, urgent = append(beside, rate), append(urgent, otps)
				w.tell("  bulk alone %.0f mails/s, beside %.0f OTPs/s %.0f mails/s", alone[len(alone)-1], otps, rate)
			}
			if b.Series.Count() >= w.Sizes.Floor {
				return errors.New("the backlog ran dry: give more with -floor")
			}
			return b.Series.Wait(ctx, w.Sizes.Floor, w.Sizes.Patience)
		})
		rows = w.floors(meter.Median(alone), meter.Median(beside), meter.Median(urgent))
		return err
	})
	return rows, err
}

// window counts the bulk mails of one stretch, and the OTPs sent in it if there
// is room for them, both per second.
func (w *world) window(ctx context.Context, p *load.Product, b *load.Batch, shots *load.Shots) (rate, otps float64, err error) {
	over := make(chan struct{})
	timer := time.AfterFunc(w.Sizes.Stretch*2/3, func() { close(over) })
	defer timer.Stop()
	began, from := w.sink.Now(), b.Series.Count()
	sent := 0
	var all errgroup.Group
	if shots != nil {
		all.Go(func() (err error) {
			sent, err = p.Sustain(ctx, shots, w.Sizes.Callers, over)
			return err
		})
	}
	select {
	case <-over:
	case <-ctx.Done():
		return 0, 0, errors.Join(context.Cause(ctx), all.Wait())
	}
	took := (w.sink.Now() - began).Seconds()
	rate = float64(b.Series.Count()-from) / took
	err = all.Wait()
	return rate, float64(sent) / took, err
}

func (w *world) floors(alone, beside, otps float64) []report.Row {
	bulk, _ := lane.Default().Lookup(lane.Bulk)
	kept := float64(bulk.FloorPercent)
	conditions := w.conditions(node.Unsigned, fmt.Sprintf("from a backlog of %d to one site, %d callers of SendOtp", w.Sizes.Floor, w.Sizes.Callers))
	return []report.Row{
		{Scenario: "floor", Name: "bulk alone", Value: alone, Unit: "mails/s", Conditions: conditions},
		{Scenario: "floor", Name: "OTPs as fast as they go", Value: otps, Unit: "OTPs/s", Conditions: conditions},
		{Scenario: "floor", Name: "bulk beside them", Value: beside, Unit: "mails/s", Conditions: conditions},
		{
			Scenario: "floor", Name: "bulk beside them to bulk alone", Value: 100 * meter.Ratio(beside, alone), Unit: "%",
			Target: report.AtLeast(kept * (1 - slip)), Conditions: fmt.Sprintf("%s; the lane's floor is %g %%, of which 10 %% may be missing", conditions, kept),
		},
	}
}
