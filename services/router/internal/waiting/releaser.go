package waiting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"kurir.dev/kit/backoff"
	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/crowd"
)

// Queue is what the releaser asks of the store. lane is one of the lanes that
// are configured, or "" for the mail of all others.
type Queue interface {
	// Claim decides about mail of a lane whose time has come (Mail.Decide), at
	// most limit of it, and gives back what is now Leaving or Settling, and
	// what waits on but has something to tell. No other claim gets it before
	// lease, among replicas too. place is asked, maybe more than once, for the
	// band of a mail that begins to leave; one that began before keeps its own,
	// for nobody knows where it lies by now.
	Claim(ctx context.Context, lane string, now, lease time.Time, limit int, place func(Mail) topic.Band) ([]Mail, error)
	// Finish forgets mail that has left, and remembers that it did.
	Finish(ctx context.Context, refs []Ref, now time.Time) error
	// Told notes that mail that waits on has told what it had to, and gives it
	// back.
	Told(ctx context.Context, told Tell, refs []Ref) error
	// Postpone gives claimed mail back, to be claimed again at wake.
	Postpone(ctx context.Context, refs []Ref, wake time.Time) error
	// NextWake is when the next mail of a lane has to be decided about; zero
	// for never.
	NextWake(ctx context.Context, lane string) (time.Time, error)
}

// Carrier tells Kafka what was decided. Each verb also tells what Mail.Tell
// names, returns once all is acked, and may be repeated.
type Carrier interface {
	// Release puts a mail onto its lane with its attempt, where its seat is,
	// and tells that; the seat is told where it landed, then or later.
	Release(ctx context.Context, m Mail, s *crowd.Seat) error
	// Settle tells the mail's final event; of a mail whose envelope cannot be
	// opened by what the room knows of it.
	Settle(ctx context.Context, m Mail) error
	// Tell tells no more than Mail.Tell.
	Tell(ctx context.Context, m Mail) error
}

// ErrUnreadable is what a Carrier answers for an envelope it cannot open. The
// mail stays in the room until it expires: the key may come back.
var ErrUnreadable = errors.New("envelope cannot be opened")

// Config bounds the releaser.
type Config struct {
	// Batch is how many mails of a lane are claimed at once.
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
	return Config{Batch: 128, Workers: 64, Lease: 30 * time.Second, Poll: 5 * time.Second, Remember: 7 * 24 * time.Hour}
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
	// "cancelled", "expired", "suppressed" or "delivered".
	Left func(ctx context.Context, lane, how string)
	// Unreadable is called each time a mail could not be opened; ended says
	// that it was given up as expired.
	Unreadable func(ctx context.Context, lane string, ended bool)
}

// unreadable is how long a mail that cannot be opened rests between tries.
const unreadable = time.Hour

// Releaser sees mail out of the room when its time has come. Run it once in a
// process; replicas share the work through claims. Each lane has a clerk of its
// own, so that however much of one lane is due, or however slowly it goes, the
// others leave in time.
type Releaser struct {
	queue   Queue
	carrier Carrier
	crowd   *crowd.Crowd
	cfg     Config
	log     *slog.Logger
	meter   Meter
	now     func() time.Time
	pause   backoff.Policy
	clerks  map[string]*clerk // by lane; "" for all lanes that are not configured
}

// NewReleaser makes a releaser of the lanes that are configured; see Run. A nil
// crowd puts all mail into the ordinary band.
func NewReleaser(
	q Queue, c Carrier, crowd *crowd.Crowd, lanes []string, cfg Config, log *slog.Logger, meter Meter, now func() time.Time,
) *Releaser {
	r := &Releaser{
		queue: q, carrier: c, crowd: crowd, cfg: cfg, log: log, meter: meter, now: now,
		pause:  backoff.Policy{Base: 200 * time.Millisecond, Max: 15 * time.Second},
		clerks: map[string]*clerk{"": newClerk("")},
	}
	for _, lane := range lanes {
		r.clerks[lane] = newClerk(lane)
	}
	return r
}

// Wake tells the releaser that something has to be decided about a lane's mail
// at a time. It never blocks; zero means now.
func (r *Releaser) Wake(lane string, at time.Time) {
	c, ok := r.clerks[lane]
	if !ok {
		c = r.clerks[""]
	}
	c.wake(at)
}

// WakeAll tells it that something may have to be decided about any mail now.
func (r *Releaser) WakeAll() {
	for _, c := range r.clerks {
		c.wake(time.Time{})
	}
}

// Run works until ctx ends, then sees out what it has claimed and returns nil.
// Faults of store and broker are logged and tried again with a growing pause.
func (r *Releaser) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, c := range r.clerks {
		g.Go(func() error {
			r.work(ctx, c)
			return nil
		})
	}
	return g.Wait()
}

// work sees out the mail of one lane.
func (r *Releaser) work(ctx context.Context, c *clerk) {
	tries := 0
	for ctx.Err() == nil {
		full, err := r.round(ctx, c.lane)
		if err != nil && ctx.Err() == nil {
			tries++
			r.log.WarnContext(ctx, "waiting mail could not leave",
				slog.String("lane", c.lane), slog.Any("error", err), slog.Int("attempt", tries))
			_ = r.pause.Wait(ctx, tries) // the loop looks at ctx
			continue
		}
		tries = 0
		if full {
			continue
		}
		if err := r.rest(ctx, c); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "waiting store did not answer", slog.Any("error", err))
			_ = r.pause.Wait(ctx, 1) // the loop looks at ctx
		}
	}
}

// round sees one batch out and tells whether there may be more.
func (r *Releaser) round(ctx context.Context, lane string) (bool, error) {
	now := r.now()
	seats := seats{crowd: r.crowd, of: make(map[string]*crowd.Seat)}
	defer seats.leave()
	mails, err := r.queue.Claim(ctx, lane, now, now.Add(r.cfg.Lease), r.cfg.Batch, seats.choose)
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
	return len(mails) == r.cfg.Batch, r.seeOut(work, mails, seats)
}

// seeOut tells Kafka about each mail and notes what was acked.
func (r *Releaser) seeOut(ctx context.Context, mails []Mail, seats seats) error {
	failed := make([]error, len(mails))
	var g errgroup.Group
	g.SetLimit(r.cfg.Workers)
	for i := range mails {
		seat := seats.keep(mails[i])
		g.Go(func() error {
			failed[i] = r.tell(ctx, &mails[i], seat)
			return nil
		})
	}
	_ = g.Wait() // the faults are in failed

	now := r.now()
	var gone, again []Ref
	told, closed := make(map[Tell][]Ref), make(map[time.Time][]Ref)
	var first error
	for i, m := range mails {
		switch {
		case failed[i] == nil && m.State.Waits():
			told[m.Tell] = append(told[m.Tell], m.Ref())
		case failed[i] == nil:
			gone = append(gone, m.Ref())
			r.count(ctx, m)
		case errors.Is(failed[i], ErrUnreadable):
			r.log.ErrorContext(ctx, "waiting mail cannot be opened; is a key missing?",
				slog.String("mail_id", m.ID), slog.String("lane", m.Lane), slog.Time("expires_at", m.ExpiresAt), slog.Any("error", failed[i]))
			next := now.Add(unreadable)
			if m.ExpiresAt.Before(next) {
				next = m.ExpiresAt
			}
			closed[next] = append(closed[next], m.Ref())
		default:
			again = append(again, m.Ref())
			first = failed[i]
		}
	}
	errs := []error{first}
	if len(gone) > 0 {
		errs = append(errs, r.queue.Finish(ctx, gone, now))
	}
	for what, refs := range told {
		errs = append(errs, r.queue.Told(ctx, what, refs))
	}
	if len(again) > 0 {
		errs = append(errs, r.queue.Postpone(ctx, again, now))
	}
	for next, refs := range closed {
		errs = append(errs, r.queue.Postpone(ctx, refs, next))
	}
	return errors.Join(errs...)
}

// tell does for one mail what was decided about it. One that cannot be opened
// and whose time is over ends as expired.
func (r *Releaser) tell(ctx context.Context, m *Mail, seat *crowd.Seat) error {
	var err error
	switch m.State {
	case Settling:
		return r.carrier.Settle(ctx, *m)
	case Leaving:
		err = r.carrier.Release(ctx, *m, seat)
	default:
		err = r.carrier.Tell(ctx, *m)
	}
	if !errors.Is(err, ErrUnreadable) {
		return err
	}
	over := m.State == Leaving && !m.ExpiresAt.After(r.now())
	if r.meter.Unreadable != nil {
		r.meter.Unreadable(ctx, m.Lane, over)
	}
	if !over {
		return err
	}
	r.log.ErrorContext(ctx, "waiting mail expired unopened; its key never came back",
		slog.String("mail_id", m.ID), slog.String("lane", m.Lane))
	m.State, m.Ending, m.Reason = Settling, Expired, "expired; it could not be opened any more"
	return r.carrier.Settle(ctx, *m)
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
func (r *Releaser) rest(ctx context.Context, c *clerk) error {
	next, err := r.queue.NextWake(ctx, c.lane)
	if err != nil {
		return fmt.Errorf("asking for the next due mail: %w", err)
	}
	now := r.now()
	until := now.Add(r.cfg.Poll)
	if !next.IsZero() && next.Before(until) {
		until = next
	}
	c.sleep(ctx, now, until)
	return nil
}
