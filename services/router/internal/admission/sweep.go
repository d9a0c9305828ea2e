package admission

import (
	"context"
	"log/slog"
	"time"
)

// Sweeper settles keys that a crash left pending: a mail that lies on its lane
// has its key confirmed and its event ACCEPTED told, of one that is nowhere
// that is noted, so that a replay of its key is produced at once.
type Sweeper struct {
	Ledger  Unfinished
	Finder  Finder
	Carrier Carrier
	Log     *slog.Logger
	Now     func() time.Time
	// Landing is that of the desk.
	Landing time.Duration
	// Every is how often it looks.
	Every time.Duration
	// Found counts what it finds; nil does not.
	Found func(ctx context.Context, w Whereabouts)
}

// patience bounds the looking for one mail.
const patience = 30 * time.Second

// Run looks at once and then every so often, until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "pending keys could not be looked into", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sweep looks into all keys that are old enough: nothing of them is under way.
func (s *Sweeper) sweep(ctx context.Context) error {
	before := s.Now().Add(-s.Landing)
	seen := make(map[Key]bool)
	for {
		open, err := s.Ledger.Pending(ctx, before)
		if err != nil {
			return err
		}
		fresh := 0
		for _, o := range open {
			if seen[o.Key] {
				continue // it could not be settled; a replay will ask again
			}
			seen[o.Key] = true
			fresh++
			if err := s.settle(ctx, o); err != nil {
				return err
			}
		}
		if fresh == 0 {
			return s.Ledger.Swept(ctx, before)
		}
	}
}

// settle looks into one key.
func (s *Sweeper) settle(ctx context.Context, o Open) error {
	span := Span{From: o.Prior.Tried.From, To: o.Prior.Tried.To.Add(s.Landing)}
	if span.To.After(s.Now()) {
		return nil // tried again since: it may be under way
	}
	look, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f, err := s.Finder.Find(look, o.Prior, span)
	if err != nil {
		return err
	}
	if s.Found != nil {
		s.Found(ctx, f.Where)
	}
	switch f.Where {
	case There:
		told := make(chan bool, 1)
		s.Carrier.Accepted(ctx, f.Mail, o.Prior.Receipt, func(ok bool) { told <- ok })
		select {
		case ok := <-told:
			if !ok {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		return s.Ledger.Confirm(ctx, []Key{o.Key})
	case Nowhere:
		return s.Ledger.Absent(ctx, o.Key)
	case Untold: // a replay decides
	}
	return nil
}
