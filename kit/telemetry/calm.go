package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// burst is how often a warning or error is written within a spell.
	burst = 10
	// spell is how long repetitions are counted for.
	spell = 30 * time.Second
)

// calm keeps an outage from flooding the log: of a message of level warn and
// above, burst records are written within a spell and the rest counted; the
// first record of the next spell says how many, as "suppressed". Messages are
// told apart by their text, which is static, so what is remembered is bounded.
// Information is never held back.
type calm struct {
	slog.Handler

	seen *repeats
}

func newCalm(h slog.Handler) slog.Handler {
	return calm{h, &repeats{runs: map[repeat]*run{}}}
}

// Handle writes r, or counts it.
func (h calm) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.Handler.Handle(ctx, r)
	}
	pass, suppressed := h.seen.admit(repeat{r.Level, r.Message}, r.Time)
	if !pass {
		return nil
	}
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("suppressed", suppressed))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps counting with the loggers made from this one.
func (h calm) WithAttrs(attrs []slog.Attr) slog.Handler {
	return calm{h.Handler.WithAttrs(attrs), h.seen}
}

// WithGroup keeps counting with the loggers made from this one.
func (h calm) WithGroup(name string) slog.Handler {
	return calm{h.Handler.WithGroup(name), h.seen}
}

// repeat is what makes two records the same message.
type repeat struct {
	level   slog.Level
	message string
}

// run is one spell of a message.
type run struct {
	began  time.Time
	shown  int
	hidden int
}

// repeats counts messages; safe for concurrent use.
type repeats struct {
	mu   sync.Mutex
	runs map[repeat]*run // guarded by mu
}

// admit reports whether the message is to be written at the time at, and how
// many were held back in the spell that ended with it.
func (s *repeats) admit(m repeat, at time.Time) (pass bool, suppressed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.runs[m]
	if !ok {
		r = &run{began: at}
		s.runs[m] = r
	}
	if at.Sub(r.began) >= spell {
		suppressed = r.hidden
		*r = run{began: at}
	}
	if r.shown == burst {
		r.hidden++
		return false, 0
	}
	r.shown++
	return true, suppressed
}
