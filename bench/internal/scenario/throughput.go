package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"

	"kurir.dev/bench/internal/load"
	"kurir.dev/bench/internal/meter"
	"kurir.dev/bench/internal/node"
	"kurir.dev/bench/internal/report"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// mode is one way to sign, and what is aimed at.
type mode struct {
	name, sign string
	share      int // of Sizes.Mails, one in so many
	rate, cpu  *report.Target
}

func modes() []mode {
	return []mode{
		{"unsigned", node.Unsigned, 1, report.AtLeast(2000), report.AtMost(0.8)},
		{"RSA-2048", node.RSA, 2, report.AtLeast(800), report.AtMost(2.2)},
		{"RSA-2048 and Ed25519", node.RSAEd25519, 2, nil, nil},
	}
}

// run is one round of one mode.
type run struct {
	rate, cpu, objects, bytes, rss, heap, generator float64 // cpu to bytes per 1,000 mails
}

// throughput measures how many mails a second go from the gRPC call to the
// sink's 250, what the mesh uses for them, and how many the same sink takes
// from a bare client loop. The rounds of all of it are taken in turns.
func throughput(ctx context.Context, lab *Lab) (rows []report.Row, err error) {
	err = lab.with(ctx, func(w *world) error {
		var limits []float64
		runs := make(map[string][]run)
		for round := range w.Sizes.Rounds {
			var message []byte
			for _, m := range modes() {
				r, sample, err := w.round(ctx, m)
				if err != nil {
					return fmt.Errorf("%s: %w", m.name, err)
				}
				if m.sign == node.Unsigned {
					message = sample
				}
				runs[m.name] = append(runs[m.name], r)
				w.tell("  round %d, %s: %.0f mails/s, %.2f CPU-s per 1,000", round+1, m.name, r.rate, r.cpu)
			}
			limit, err := w.bare(ctx, message)
			if err != nil {
				return fmt.Errorf("bare loop: %w", err)
			}
			limits = append(limits, limit)
			w.tell("  round %d, bare loop of %d-byte mails: %.0f mails/s", round+1, len(message), limit)
		}
		rows = w.rates(runs, limits)
		return nil
	})
	return rows, err
}

// rates makes rows of the medians.
func (w *world) rates(runs map[string][]run, limits []float64) (rows []report.Row) {
	limit := meter.Median(limits)
	rounds := fmt.Sprintf("median of %d rounds", w.Sizes.Rounds)
	for _, m := range modes() {
		of := func(pick func(r run) float64) float64 {
			var all []float64
			for _, r := range runs[m.name] {
				all = append(all, pick(r))
			}
			return meter.Median(all)
		}
		rate := of(func(r run) float64 { return r.rate })
		share := report.Row{Name: m.name + ", share of the limit", Value: 100 * meter.Ratio(rate, limit), Unit: "%"}
		if m.sign == node.Unsigned {
			share.Target = report.AtLeast(50)
		}
		for _, row := range []report.Row{
			{Name: m.name, Value: rate, Unit: "mails/s", Target: m.rate},
			share,
			{Name: m.name + ", mesh", Value: of(func(r run) float64 { return r.cpu }), Unit: "CPU-s/1,000", Target: m.cpu},
			{Name: m.name + ", generator and sink", Value: of(func(r run) float64 { return r.generator }), Unit: "CPU-s/1,000"},
			{Name: m.name + ", mesh", Value: of(func(r run) float64 { return r.objects }) / 1000, Unit: "allocations/mail"},
			{Name: m.name + ", mesh", Value: of(func(r run) float64 { return r.bytes }) / 1000 / 1024, Unit: "KB allocated/mail"},
			{Name: m.name + ", mesh", Value: of(func(r run) float64 { return r.rss }) / (1 << 20), Unit: "MB peak RSS"},
			{Name: m.name + ", mesh", Value: of(func(r run) float64 { return r.heap }) / (1 << 20), Unit: "MB peak heap"},
		} {
			row.Scenario, row.Conditions = "throughput", w.conditions(m.sign, rounds)
			rows = append(rows, row)
		}
	}
	return append(rows, report.Row{
		Scenario: "throughput", Name: "limit: bare go-smtp loop into the same sink", Value: limit, Unit: "mails/s",
		Conditions: fmt.Sprintf("the unsigned mail's bytes, no disk, no DKIM, %d connections reused; %s", load.Connections, rounds),
	})
}

// round measures one mode on a new mesh, and returns a message as it arrived.
func (w *world) round(ctx context.Context, m mode) (r run, sample []byte, err error) {
	spec := w.spec()
	spec.Sign = m.sign
	n := max(w.Sizes.Mails/m.share, 1)
	err = w.mesh(ctx, spec, func(mesh *node.Node, p *load.Product) error {
		first := w.sink.Sample()
		if err := w.warm(ctx, p, max(n/20, 20)); err != nil {
			return err
		}
		sample = <-first
		if err := mesh.Quiet(ctx); err != nil {
			return err
		}
		before, err := mesh.Use()
		if err != nil {
			return err
		}
		own, err := meter.Process(os.Getpid())
		if err != nil {
			return err
		}
		b := p.NewBatch(bulkMail, n)
		if err := p.Submit(ctx, node.DefaultTenant, b); err != nil {
			return err
		}
		if err := b.Series.Wait(ctx, n, w.Sizes.Patience); err != nil {
			return err
		}
		took := b.Series.Last() - b.Began
		ownAfter, err := meter.Process(os.Getpid())
		if err != nil {
			return err
		}
		// What the mesh still has to do for these mails is part of their cost.
		if err := mesh.Quiet(ctx); err != nil {
			return err
		}
		after, err := mesh.Use()
		if err != nil {
			return err
		}
		thousands := float64(n) / 1000
		r = run{
			rate: float64(n) / took.Seconds(), cpu: (after.CPU - before.CPU).Seconds() / thousands,
			objects: float64(after.Allocations-before.Allocations) / thousands,
			bytes:   float64(after.AllocatedBytes-before.AllocatedBytes) / thousands,
			rss:     float64(after.PeakRSS), heap: float64(after.PeakHeap), generator: (ownAfter.CPU - own.CPU).Seconds() / thousands,
		}
		return told(ctx, mesh, b)
	})
	return r, sample, err
}

// told makes sure that the tracker was not left behind, and nothing came twice.
func told(ctx context.Context, mesh *node.Node, b *load.Batch) error {
	if again := b.Series.Again(); again > 0 {
		return fmt.Errorf("%d mails came twice", again)
	}
	for _, i := range []int{0, len(b.IDs) / 2, len(b.IDs) - 1} {
		res, err := mesh.Tracker.GetMail(ctx, &trackerv1.GetMailRequest{MailId: b.IDs[i]})
		if err != nil {
			return fmt.Errorf("asking after a mail: %w", err)
		}
		if res.GetMail().GetState() != mailv1.State_STATE_DELIVERED {
			return errors.New("a mail arrived, the mesh has come to rest, and the tracker does not know")
		}
	}
	return nil
}

// bare measures the limit with as many mails as an unsigned round has.
func (w *world) bare(ctx context.Context, message []byte) (rate float64, err error) {
	for _, n := range []int{max(w.Sizes.Mails/20, 20), w.Sizes.Mails} { // the first to warm up
		series := w.sink.Expect(bulkMail, n)
		began := w.sink.Now()
		if err := load.Bare(ctx, w.sink.Addr(), series, message); err != nil {
			return 0, err
		}
		rate = float64(n) / (series.Last() - began).Seconds()
	}
	return rate, nil
}
