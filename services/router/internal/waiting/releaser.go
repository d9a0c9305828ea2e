package waiting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kurir.dev/kit/backoff"
)

// Queue is what the releaser asks of the store.
type Queue interface {
	// Claim decides about mail whose time has come (Mail.Decide), at most
	// limit of it, and gives back what is now Leaving or Settling. No other
	// claim gets it before lease, among replicas too.
	Claim(ctx context.Context, now, lease time.Time, limit int) ([]Mail, error)
	// Finish forgets mail that has left, and remembers that it did.
	Finish(ctx context.Context, refs []Ref, now time.Time) error
	// Postpone gives claimed mail back, to be claimed again at wake.
	Postpone(ctx context.Context, refs []Ref, wake time.Time) error
	// NextWake is when the next mail has to be decided about; zero for never.
	NextWake(ctx context.Context) (time.Time, error)
}

// Carrier tells Kafka what was decided. Both verbs return once it is acked and
// may be repeated.
type Carrier interface {
	// Release puts a mail onto its lane with its attempt.
	Release(ctx context.Context, m Mail) error
	// Settle tells the mail's final event.
	Settle(ctx context.Context, m Mail) error
}

// ErrUnreadable is what a Carrier answers for an envelope it cannot open. The
// mail stays in the room: the key may come back.
var ErrUnreadable = errors.New("envelope cannot be opened")

// Config bounds the releaser.
type Config struct {
	// Batch is how many mails are claimed at once.
	Batch int `yaml:"batch"`
	// Workers is how many of them are told to Kafka at the same time.
	Workers int `yaml:"workers"`
	// Lease is how long a claim holds; longer than a batch can take.
	Lease time.Duration `yaml:"lease"`
	// Poll is the longest sleep: how late the mail of a replica that died is
	// noticed by another.
	Poll time.Duration `yaml:"poll"`
	// Remember is how long a mail that left is remembered.
	Remember time.Duration `yaml:"remember"`
}

// Default is for production.
func Default() Config {
	return Config{Batch: 256, Workers: 64, Lease: 30 * time.Second, Poll: 5 * time.Second, Remember: 7 * 24 * time.Hour}
}

// Validate reports every fault of c, joined.
func (c Config) Validate() error {
	var faults []error
	for _, v := range []struct {
		name string
		bad  bool
	}{
		{"batch: must be at least 1", c.Batch < 1},
		{"workers: must be at least 1", c.Workers < 1},
		{"lease: must be at least 1s", c.Lease < time.Second},
		{"poll: must be above 0", c.Poll <= 0},
		{"remember: must be at least 1h", c.Remember < time.Hour},
	} {
		if v.bad {
			faults = append(faults, errors.New(v.name))
		}
	}
	return errors.Join(faults...)
}

// Meter counts what leaves the room; nil fields are not called.
type Meter struct {
	// Left is called for each mail that left, with its lane and "released",
	// "cancelled", "expired" or "suppressed".
	Left func(ctx context.Context, lane, how string)
}

// unreadable is how long a mail that cannot be opened rests between tries.
const unreadable = time.Hour

// Releaser sees mail out of the room when its time has come. Run it once in a
// process; replicas share the work through claims.
type Releaser struct {
	queue   Queue
	carrier Carrier
	cfg     Config
	log     *slog.Logger
	meter   Meter
	now     func() time.Time
	pause   backoff.Policy
	signal  chan struct{}

	mu   sync.Mutex
	next time.Time // when the loop means to wake; zero while it is awake
}

// NewReleaser makes a releaser; see Run.
func NewReleaser(q Queue, c Carrier, cfg Config, log *slog.Logger, meter Meter, now func() time.Time) *Releaser {
	return &Releaser{
		queue: q, carrier: c, cfg: cfg, log: log, meter: meter, now: now,
		pause:  backoff.Policy{Base: 200 * time.Millisecond, Max: 15 * time.Second},
		signal: make(chan struct{}, 1),
	}
}

// Wake tells the releaser that something has to be decided at a time. It never
// blocks; zero means now.
func (r *Releaser) Wake(at time.Time) {
	r.mu.Lock()
	sleeping := !r.next.IsZero() && !at.Before(r.next)
	r.mu.Unlock()
	if sleeping {
		return
	}
	select {
	case r.signal <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, then sees out what it has claimed and returns nil.
// Faults of store and broker are logged and tried again with a growing pause.
func (r *Releaser) Run(ctx context.Context) error {
	tries := 0
	for ctx.Err() == nil {
		full, err := r.round(ctx)
		if err != nil && ctx.Err() == nil {
			tries++
			r.log.WarnContext(ctx, "waiting mail could not leave", slog.Any("error", err), slog.Int("attempt", tries))
			_ = r.pause.Wait(ctx, tries) // the loop looks at ctx
			continue
		}
		tries = 0
		if full {
			continue
		}
		if err := r.rest(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "waiting store did not answer", slog.Any("error", err))
			_ = r.pause.Wait(ctx, 1) // the loop looks at ctx
		}
	}
	return nil
}

// round sees one batch out and tells whether there may be more.
func (r *Releaser) round(ctx context.Context) (bool, error) {
	now := r.now()
	mails, err := r.queue.Claim(ctx, now, now.Add(r.cfg.Lease), r.cfg.Batch)
	if err != nil {
		return false, fmt.Errorf("claiming: %w", err)
	}
	if len(mails) == 0 {
		return false, nil
	}
	// The claim is ours until the lease ends, whatever happens to ctx; nothing
	// is told to Kafka after it.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Lease*3/4)
	defer cancel()
	return len(mails) == r.cfg.Batch, r.seeOut(work, mails)
}

// seeOut tells Kafka about each mail and forgets those that were acked.
func (r *Releaser) seeOut(ctx context.Context, mails []Mail) error {
	failed := make([]error, len(mails))
	var g errgroup.Group
	g.SetLimit(r.cfg.Workers)
	for i, m := range mails {
		g.Go(func() error {
			if m.State == Leaving {
				failed[i] = r.carrier.Release(ctx, m)
			} else {
				failed[i] = r.carrier.Settle(ctx, m)
			}
			return nil
		})
	}
	_ = g.Wait() // the faults are in failed

	var gone, again, closed []Ref
	var first error
	for i, m := range mails {
		switch {
		case failed[i] == nil:
			gone = append(gone, m.Ref())
			r.count(ctx, m)
		case errors.Is(failed[i], ErrUnreadable):
			r.log.ErrorContext(ctx, "waiting mail cannot be opened; is a key missing?",
				slog.String("mail_id", m.ID), slog.Any("error", failed[i]))
			closed = append(closed, m.Ref())
		default:
			again = append(again, m.Ref())
			first = failed[i]
		}
	}
	now := r.now()
	errs := []error{first}
	if len(gone) > 0 {
		errs = append(errs, r.queue.Finish(ctx, gone, now))
	}
	if len(again) > 0 {
		errs = append(errs, r.queue.Postpone(ctx, again, now))
	}
	if len(closed) > 0 {
		errs = append(errs, r.queue.Postpone(ctx, closed, now.Add(unreadable)))
	}
	return errors.Join(errs...)
}

func (r *Releaser) count(ctx context.Context, m Mail) {
	if r.meter.Left == nil {
		return
	}
	how := "released"
	if m.State == Settling {
		how = m.Ending.String()
	}
	r.meter.Left(ctx, m.Lane, how)
}

// rest sleeps until the next mail's time, a Wake, or cfg.Poll.
func (r *Releaser) rest(ctx context.Context) error {
	next, err := r.queue.NextWake(ctx)
	if err != nil {
		return fmt.Errorf("asking for the next due mail: %w", err)
	}
	now := r.now()
	until := now.Add(r.cfg.Poll)
	if !next.IsZero() && next.Before(until) {
		until = next
	}
	r.setNext(until)
	defer r.setNext(time.Time{})
	sleep(ctx, until.Sub(now), r.signal)
	return nil
}

func (r *Releaser) setNext(t time.Time) {
	r.mu.Lock()
	r.next = t
	r.mu.Unlock()
}

// sleep waits for d, the end of ctx, or a signal.
func sleep(ctx context.Context, d time.Duration, signal <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-signal:
	}
}
