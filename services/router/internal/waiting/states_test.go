package waiting_test

import (
	"testing"
	"time"

	"kurir.dev/services/router/internal/waiting"
)

func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func TestStates(t *testing.T) {
	t.Parallel()
	states := []waiting.State{waiting.Scheduled, waiting.Deferred, waiting.Leaving, waiting.Settling}
	allowed := map[[2]waiting.State]bool{
		{waiting.Scheduled, waiting.Leaving}: true, {waiting.Scheduled, waiting.Settling}: true,
		{waiting.Deferred, waiting.Leaving}: true, {waiting.Deferred, waiting.Settling}: true,
		{waiting.Leaving, waiting.Leaving}: true, {waiting.Settling, waiting.Settling}: true,
	}
	for _, from := range states {
		for _, to := range states {
			if got := from.May(to); got != allowed[[2]waiting.State{from, to}] {
				t.Errorf("%v.May(%v) = %v, want %v", from, to, got, !got)
			}
		}
		if got := waiting.ParseState(from.String()); got != from {
			t.Errorf("ParseState(%q) = %v, want %v", from, got, from)
		}
	}
	if got := waiting.ParseState("elsewhere"); got != 0 {
		t.Errorf("ParseState(elsewhere) = %v, want none", got)
	}
	for _, e := range []waiting.Ending{0, waiting.Cancelled, waiting.Expired, waiting.Suppressed, waiting.Delivered} {
		if got := waiting.ParseEnding(e.String()); got != e {
			t.Errorf("ParseEnding(%q) = %v, want %v", e, got, e)
		}
	}
}

// TestDecide goes through what can be decided; each decision is one that its
// state allows.
func TestDecide(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change     func(m *waiting.Mail)
		suppressed string
		state      waiting.State
		ending     waiting.Ending
		held       bool
	}{
		"due":                      {func(*waiting.Mail) {}, "", waiting.Leaving, 0, false},
		"not due":                  {func(m *waiting.Mail) { m.DueAt = noon().Add(time.Second) }, "", waiting.Deferred, 0, false},
		"suppressed":               {func(*waiting.Mail) {}, "complaint", waiting.Settling, waiting.Suppressed, false},
		"suppressed, not due":      {func(m *waiting.Mail) { m.DueAt = noon().Add(time.Second) }, "complaint", waiting.Deferred, 0, false},
		"expired":                  {func(m *waiting.Mail) { m.ExpiresAt = noon() }, "", waiting.Settling, waiting.Expired, false},
		"expired and suppressed":   {func(m *waiting.Mail) { m.ExpiresAt = noon() }, "complaint", waiting.Settling, waiting.Expired, false},
		"held":                     {func(m *waiting.Mail) { m.Held = true }, "", waiting.Deferred, 0, true},
		"held a while":             {func(m *waiting.Mail) { m.Held, m.HoldUntil = true, noon().Add(1) }, "", waiting.Deferred, 0, true},
		"held and expired":         {func(m *waiting.Mail) { m.Held, m.ExpiresAt = true, noon() }, "", waiting.Settling, waiting.Expired, true},
		"hold over":                {func(m *waiting.Mail) { m.Held, m.HoldUntil = true, noon() }, "", waiting.Leaving, 0, false},
		"leaving stays":            {func(m *waiting.Mail) { m.State, m.ExpiresAt = waiting.Leaving, noon() }, "complaint", waiting.Leaving, 0, false},
		"settling stays":           {func(m *waiting.Mail) { m.State, m.Ending = waiting.Settling, waiting.Cancelled }, "", waiting.Settling, waiting.Cancelled, false},
		"hold over, not yet due":   {func(m *waiting.Mail) { m.Held, m.HoldUntil, m.DueAt = true, noon(), noon().Add(1) }, "", waiting.Deferred, 0, false},
		"scheduled leaves as well": {func(m *waiting.Mail) { m.State = waiting.Scheduled }, "", waiting.Leaving, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := waiting.Mail{ID: "m", Attempt: 2, State: waiting.Deferred, DueAt: noon(), ExpiresAt: noon().Add(time.Hour)}
			c.change(&m)
			got := m.Decide(noon(), c.suppressed)
			if got.State != c.state || got.Ending != c.ending || got.Held != c.held {
				t.Errorf("Decide() = %v %v held %v, want %v %v held %v", got.State, got.Ending, got.Held, c.state, c.ending, c.held)
			}
			if owes := m.Held && !got.Held; owes != (got.Tell&waiting.TellDecided != 0) {
				t.Errorf("Decide() tells %v, want the end of a hold told and nothing else", got.Tell)
			}
			if got.State != m.State && !m.State.May(got.State) {
				t.Errorf("Decide() went from %v to %v, which is not allowed", m.State, got.State)
			}
		})
	}
}

func TestWakeAt(t *testing.T) {
	t.Parallel()
	due, expires := noon().Add(time.Hour), noon().Add(2*time.Hour)
	for name, c := range map[string]struct {
		mail waiting.Mail
		want time.Time
	}{
		"due":                {waiting.Mail{DueAt: due, ExpiresAt: expires}, due},
		"expires first":      {waiting.Mail{DueAt: expires.Add(1), ExpiresAt: expires}, expires},
		"held":               {waiting.Mail{DueAt: due, ExpiresAt: expires, Held: true}, expires},
		"held a while":       {waiting.Mail{DueAt: due, ExpiresAt: expires, Held: true, HoldUntil: noon()}, noon()},
		"held too long":      {waiting.Mail{DueAt: due, ExpiresAt: expires, Held: true, HoldUntil: expires.Add(1)}, expires},
		"something to tell":  {waiting.Mail{DueAt: due, ExpiresAt: expires, Held: true, Tell: waiting.TellHeld}, time.UnixMicro(1)},
		"hold does not hurt": {waiting.Mail{DueAt: due, ExpiresAt: expires, HoldUntil: noon()}, due},
	} {
		if got := c.mail.WakeAt(); !got.Equal(c.want) {
			t.Errorf("%s: WakeAt() = %v, want %v", name, got, c.want)
		}
	}
}
