package scenario

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"kurir.dev/bench/internal/load"
	"kurir.dev/bench/internal/meter"
	"kurir.dev/bench/internal/node"
	"kurir.dev/bench/internal/report"
	"kurir.dev/kit/lane"
)

// shots is room for the single mails of one scenario.
const shots = 1 << 20

// never is a channel that is not closed.
var never chan struct{} //nolint:gochecknoglobals // a nil channel, which nobody can change

// otp measures what an OTP takes from the call to the sink's 250: with nothing
// else to do, while the backlog is submitted, while it is delivered, and with
// every bulk connection of the same site tarpitted. Idle stretches lie before,
// between and after.
//
// The backlog is a whole one: it is accepted by a mesh whose dispatcher serves
// the OTP lane alone, and drained by the same mesh started again with all
// lanes.
func otp(ctx context.Context, lab *Lab) (rows []report.Row, err error) {
	err = lab.with(ctx, func(w *world) error {
		r := &otps{world: w}
		spec := w.spec()
		b, err := r.submitting(ctx, spec)
		if err != nil {
			return err
		}
		if err := r.draining(ctx, spec, b); err != nil {
			return err
		}
		rows = r.rows()
		return nil
	})
	return rows, err
}

// otps is the state of one run of the scenario.
type otps struct {
	*world
	shots                                      *load.Shots
	idle, submitted, first, drained, tarpitted load.Outcome
}

// fire sends OTPs at the rate, most of them at the most or until enough.
func (r *otps) fire(ctx context.Context, p *load.Product, use uint64, most int, enough <-chan struct{}) (load.Outcome, error) {
	part, err := r.shots.Poisson(ctx, r.random(use), r.Sizes.Rate, most, enough, func(ctx context.Context, s *load.Shots, i int) error {
		return p.OTP(ctx, s, i)
	})
	if err != nil {
		return load.Outcome{}, err
	}
	if err := r.shots.Arrive(ctx, part, r.Sizes.Patience); err != nil {
		return load.Outcome{}, err
	}
	return r.shots.Outcome(part), nil
}

// stretch is how many OTPs an idle round has.
func (w *world) stretch() int { return max(int(w.Sizes.Rate*w.Sizes.Stretch.Seconds()), 1) }

// rest is one idle round, once the mesh is quiet and a few OTPs went before.
func (r *otps) rest(ctx context.Context, mesh *node.Node, p *load.Product, use uint64) error {
	if err := mesh.Quiet(ctx); err != nil {
		return err
	}
	if _, err := r.fire(ctx, p, use+100, max(r.stretch()/10, 1), never); err != nil {
		return err
	}
	o, err := r.fire(ctx, p, use, r.stretch(), never)
	if err != nil {
		return err
	}
	r.tell("  idle: %s", brief(o))
	add(&r.idle, o)
	return nil
}

// submitting has an idle round, then OTPs beside the backlog's submission.
func (r *otps) submitting(ctx context.Context, spec node.Spec) (b *load.Batch, err error) {
	spec.Lanes = []string{lane.OTP}
	err = r.mesh(ctx, spec, func(mesh *node.Node, p *load.Product) error {
		r.shots = p.NewShots(otpMail, shots)
		if err := r.rest(ctx, mesh, p, 1); err != nil {
			return err
		}
		b = p.NewBatch(bulkMail, r.Sizes.Backlog)
		done := make(chan struct{})
		var both errgroup.Group
		both.Go(func() error {
			defer close(done)
			return p.Submit(ctx, node.DefaultTenant, b)
		})
		r.submitted, err = r.fire(ctx, p, 2, shots, done)
		if other := both.Wait(); other != nil {
			return other
		}
		r.tell("  %d bulk mails submitted, not delivered: %s", b.Accepted(), brief(r.submitted))
		return err
	})
	return b, err
}

// draining has OTPs beside the backlog's delivery, an idle round, OTPs beside a
// tarpit, and a last idle round. The first few after the mesh has started are
// told of apart: they meet a start, as they do before idle rounds.
func (r *otps) draining(ctx context.Context, spec node.Spec, b *load.Batch) error {
	return r.mesh(ctx, spec, func(mesh *node.Node, p *load.Product) error {
		// What the last few mails of a backlog see is no flood.
		deep := make(chan struct{})
		var both errgroup.Group
		both.Go(func() error {
			defer close(deep)
			return b.Series.Wait(ctx, r.Sizes.Backlog*9/10, r.Sizes.Patience)
		})
		var drained load.Outcome
		first, err := r.fire(ctx, p, 103, max(r.stretch()/10, 1), never)
		if err == nil {
			drained, err = r.fire(ctx, p, 3, shots, deep)
		}
		if other := both.Wait(); other != nil {
			return other
		}
		if err != nil {
			return err
		}
		r.first = first
		add(&r.drained, drained)
		r.tell("  right after the start: %s", brief(first))
		r.tell("  %d bulk mails being delivered: %s", r.Sizes.Backlog, brief(drained))
		if err := b.Series.Wait(ctx, r.Sizes.Backlog, r.Sizes.Patience); err != nil {
			return err
		}
		if err := r.rest(ctx, mesh, p, 4); err != nil {
			return err
		}
		return r.tarpit(ctx, p)
	})
}

// tarpit has OTPs beside bulk mail to the same site whose every recipient
// waits for its answer.
func (r *otps) tarpit(ctx context.Context, p *load.Product) error {
	b := p.NewBatch(bulkMail, max(r.Sizes.Backlog/10, 1))
	b.Series.Tarpit(r.Sizes.Tarpit)
	defer b.Series.Loosen()
	if err := p.Submit(ctx, node.DefaultTenant, b); err != nil {
		return err
	}
	var err error
	if r.tarpitted, err = r.fire(ctx, p, 5, 2*r.stretch(), never); err != nil {
		return err
	}
	r.tell("  %d bulk mails in a tarpit of %v: %s", b.Accepted(), r.Sizes.Tarpit, brief(r.tarpitted))
	return nil
}

// rows are the figures, each beside idle.
func (r *otps) rows() (rows []report.Row) {
	idle := meter.Summarise(r.idle.Times)
	pace := fmt.Sprintf("OTPs by a Poisson process at %g/s", r.Sizes.Rate)
	for _, c := range []struct {
		name, what string
		outcome    load.Outcome
		target     *report.Target
	}{
		{"idle", "nothing else to do, rounds before and after the floods", r.idle, nil},
		{"submission", fmt.Sprintf("while %d bulk mails are being submitted", r.Sizes.Backlog), r.submitted, report.AtMost(1.5)},
		{"flood", fmt.Sprintf("while the first 90 %% of a backlog of %d bulk mails to the same site are delivered", r.Sizes.Backlog), r.drained, report.AtMost(1.5)},
		{"flood, right after the start", fmt.Sprintf("the first after a mesh with a backlog of %d bulk mails to the same site has started", r.Sizes.Backlog), r.first, nil},
		{"tarpit", fmt.Sprintf("every bulk RCPT at the same site answered after %v, %d mails", r.Sizes.Tarpit, r.Sizes.Backlog/10), r.tarpitted, report.AtMost(2)},
	} {
		rows = append(rows, latency("otp", "OTP, "+c.name, c.outcome, r.conditions(node.Unsigned, pace+", "+c.what))...)
		if c.target != nil {
			rows = append(rows, report.Row{
				Scenario: "otp", Name: "OTP, " + c.name + ", p99 to idle", Target: c.target,
				Value: meter.Ratio(meter.Summarise(c.outcome.Times).P99, idle.P99), Unit: "times", Conditions: r.conditions(node.Unsigned, pace+", in the same run"),
			})
		}
	}
	return rows
}

// latency are the rows every latency has.
func latency(scenario, name string, o load.Outcome, conditions string) []report.Row {
	l := meter.Summarise(o.Times)
	row := func(what string, v float64, unit string) report.Row {
		return report.Row{Scenario: scenario, Name: name + ", " + what, Value: v, Unit: unit, Conditions: conditions}
	}
	rows := []report.Row{
		row("p50", meter.Milliseconds(l.P50), "ms"), row("p99", meter.Milliseconds(l.P99), "ms"), row("max", meter.Milliseconds(l.Max), "ms"),
		row("samples", float64(l.N), ""),
	}
	if o.Lost+o.Refused > 0 {
		rows = append(rows, row("not delivered in time", float64(o.Lost), ""), row("refused", float64(o.Refused), ""))
	}
	return rows
}

// brief is an outcome on one line.
func brief(o load.Outcome) string {
	l := meter.Summarise(o.Times)
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d, p50 %v, p99 %v, max %v, %d late, %d refused", l.N, round(l.P50), round(l.P99), round(l.Max), o.Lost, o.Refused)
}

// add adds an outcome to another.
func add(to *load.Outcome, o load.Outcome) {
	to.Times = append(to.Times, o.Times...)
	to.Lost += o.Lost
	to.Refused += o.Refused
}
