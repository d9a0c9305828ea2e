package waiting_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/crowd"
	"kurir.dev/services/router/internal/waiting"
)

// room is a waiting.Queue and a waiting.Carrier in memory.
type room struct {
	mu       sync.Mutex
	mails    map[string]waiting.Mail
	wake     map[string]time.Time
	told     []string
	toldAt   []time.Time
	err      error // of telling
	claimErr error
	claims   int
	slow     time.Duration // how long a bulk mail takes to leave
	unread   []string
	bands    map[string][]topic.Band // of each try to release
	crowd    *crowd.Crowd
}

func newRoom(mails ...waiting.Mail) *room {
	r := &room{mails: map[string]waiting.Mail{}, wake: map[string]time.Time{}, bands: map[string][]topic.Band{}}
	for _, m := range mails {
		r.add(m)
	}
	return r
}

func (r *room) add(m waiting.Mail) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mails[m.ID], r.wake[m.ID] = m, m.WakeAt()
}

func (r *room) Claim(_ context.Context, lane string, now, lease time.Time, limit int, place func(waiting.Mail) topic.Band) ([]waiting.Mail, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims++
	var claimed []waiting.Mail
	for id, m := range r.mails {
		if m.Lane != lane || r.wake[id].After(now) || len(claimed) == limit {
			continue
		}
		before := m.State
		if m = m.Decide(now, ""); before.Waits() && m.State == waiting.Leaving {
			m.Band = place(m)
		}
		r.mails[id], r.wake[id] = m, lease
		claimed = append(claimed, m)
	}
	return claimed, r.claimErr
}

func (r *room) Finish(_ context.Context, refs []waiting.Ref, _ time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ref := range refs {
		delete(r.mails, ref.ID)
		delete(r.wake, ref.ID)
	}
	return nil
}

func (r *room) Told(_ context.Context, told waiting.Tell, refs []waiting.Ref) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ref := range refs {
		m := r.mails[ref.ID]
		m.Tell &^= told
		r.mails[ref.ID], r.wake[ref.ID] = m, m.WakeAt()
	}
	return nil
}

func (r *room) Postpone(_ context.Context, refs []waiting.Ref, wake time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ref := range refs {
		r.wake[ref.ID] = wake
	}
	return nil
}

func (r *room) NextWake(_ context.Context, lane string) (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var next time.Time
	for id, w := range r.wake {
		if r.mails[id].Lane != lane {
			continue
		}
		if next.IsZero() || w.Before(next) {
			next = w
		}
	}
	return next, nil
}

func (r *room) Release(ctx context.Context, m waiting.Mail, s *crowd.Seat) error {
	if m.Lane == "bulk" {
		select {
		case <-time.After(r.slow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	r.bands[m.ID] = append(r.bands[m.ID], s.Band())
	r.mu.Unlock()
	err := r.tell("released " + m.ID)
	if err == nil {
		s.Landed(0, int64(len(m.ID)))
	}
	return err
}

// Settle does without the envelope.
func (r *room) Settle(_ context.Context, m waiting.Mail) error {
	r.mu.Lock()
	if errors.Is(r.err, waiting.ErrUnreadable) {
		defer r.mu.Unlock()
		r.told, r.toldAt = append(r.told, m.Ending.String()+" "+m.ID), append(r.toldAt, time.Now())
		return nil
	}
	r.mu.Unlock()
	return r.tell(m.Ending.String() + " " + m.ID)
}

func (r *room) Tell(_ context.Context, m waiting.Mail) error {
	return r.tell(fmt.Sprintf("told %d of %s", m.Tell, m.ID))
}

func (r *room) tell(what string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	r.told, r.toldAt = append(r.told, what), append(r.toldAt, time.Now())
	return nil
}

func (r *room) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *room) said() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.told)
}

// run runs a releaser over the room inside a bubble of its own time.
func run(t *testing.T, r *room, test func(rel *waiting.Releaser)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rel := waiting.NewReleaser(r, r, r.crowd, []string{"otp", "bulk"}, waiting.Default(), slog.New(slog.DiscardHandler), waiting.Meter{
			Unreadable: func(_ context.Context, lane string, ended bool) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.unread = append(r.unread, fmt.Sprintf("%s ended %v", lane, ended))
			},
		}, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- rel.Run(ctx) }()
		test(rel)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}

// bubble is the time at which a bubble begins.
func bubble() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func waits(id string, in time.Duration) waiting.Mail {
	return waiting.Mail{ID: id, Lane: "otp", Attempt: 2, State: waiting.Deferred, DueAt: bubble().Add(in), ExpiresAt: bubble().Add(time.Hour)}
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestReleaserWakesInTime(t *testing.T) {
	t.Parallel()
	r := newRoom(waits("a", 1500*time.Millisecond))
	run(t, r, func(rel *waiting.Releaser) {
		pass(1499 * time.Millisecond)
		if got := r.said(); len(got) != 0 {
			t.Errorf("told %v before anything was due", got)
		}
		pass(time.Millisecond)
		if got := r.said(); !slices.Equal(got, []string{"released a"}) {
			t.Errorf("told %v, want a released to the millisecond", got)
		}
		r.add(waits("b", 1600*time.Millisecond))
		rel.Wake("otp", bubble().Add(1600*time.Millisecond))
		pass(100 * time.Millisecond)
		if got := r.said(); !slices.Equal(got, []string{"released a", "released b"}) {
			t.Errorf("told %v, want b too: it woke the releaser", got)
		}
	})
}

func TestReleaserIsNotWokenForLater(t *testing.T) {
	t.Parallel()
	r := newRoom(waits("a", time.Second))
	run(t, r, func(rel *waiting.Releaser) {
		synctest.Wait()
		before := r.claims
		rel.Wake("otp", bubble().Add(2*time.Second))
		synctest.Wait()
		if r.claims != before {
			t.Errorf("claimed %d times for mail that is due later", r.claims-before)
		}
	})
}

func TestReleaserNoticesOthers(t *testing.T) {
	t.Parallel()
	r := newRoom()
	run(t, r, func(*waiting.Releaser) {
		synctest.Wait()
		r.add(waits("a", 0)) // by a replica that died
		pass(waiting.Default().Poll)
		if got := r.said(); !slices.Equal(got, []string{"released a"}) {
			t.Errorf("told %v, want a released by the poll", got)
		}
	})
}

func TestReleaserTriesAgain(t *testing.T) {
	t.Parallel()
	r := newRoom(waits("a", 0))
	r.err = errors.New("broker is gone")
	run(t, r, func(*waiting.Releaser) {
		pass(time.Minute)
		r.fail(nil)
		pass(time.Minute)
		if got := r.said(); !slices.Equal(got, []string{"released a"}) {
			t.Errorf("told %v, want a released once the broker was back", got)
		}
	})
}

// TestReleaserKeepsWhatItCannotOpen: until its time is over, for the key may
// come back.
func TestReleaserKeepsWhatItCannotOpen(t *testing.T) {
	t.Parallel()
	m := waits("a", 0)
	m.ExpiresAt = bubble().Add(150 * time.Minute)
	r := newRoom(m)
	r.err = waiting.ErrUnreadable
	run(t, r, func(*waiting.Releaser) {
		pass(90 * time.Minute)
		r.fail(nil)
		pass(time.Hour)
		if got := r.said(); !slices.Equal(got, []string{"released a"}) {
			t.Errorf("told %v, want a released once the key was back", got)
		}
		if want := []string{"otp ended false", "otp ended false"}; !slices.Equal(r.unread, want) {
			t.Errorf("counted %v, want %v", r.unread, want)
		}
	})
}

// TestReleaserEndsWhatItCannotOpen: a mail whose key never comes back ends as
// expired, at the moment it expires, and loudly.
func TestReleaserEndsWhatItCannotOpen(t *testing.T) {
	t.Parallel()
	m := waits("a", 0)
	m.ExpiresAt = bubble().Add(90 * time.Minute)
	r := newRoom(m)
	r.err = waiting.ErrUnreadable
	run(t, r, func(*waiting.Releaser) {
		pass(90*time.Minute - 1)
		if got := r.said(); len(got) != 0 {
			t.Errorf("told %v before it expired", got)
		}
		pass(1)
		if got := r.said(); !slices.Equal(got, []string{"expired a"}) || len(r.mails) != 0 {
			t.Errorf("told %v and kept %v, want a expired and forgotten", got, r.mails)
		}
		if last := r.unread[len(r.unread)-1]; last != "otp ended true" {
			t.Errorf("counted %v, want the end at last", r.unread)
		}
	})
}

// TestReleaserLanesApart: a lane whose mail does not go holds up no other.
func TestReleaserLanesApart(t *testing.T) {
	t.Parallel()
	r := newRoom(waits("code", time.Second))
	r.slow = 10 * time.Second
	for i := range 300 {
		m := waits(fmt.Sprintf("bulk %d", i), 0)
		m.Lane = "bulk"
		r.add(m)
	}
	run(t, r, func(*waiting.Releaser) {
		pass(time.Second)
		if got := r.said(); !slices.Equal(got, []string{"released code"}) {
			t.Errorf("told %v, want the code in time beside the flood", got)
		}
		pass(2 * time.Minute)
		if got := r.said(); len(got) != 301 {
			t.Errorf("told %d, want all", len(got))
		}
	})
}

// TestReleaserTells: an event that is owed is told at once, until it is acked,
// and the mail waits on.
func TestReleaserTells(t *testing.T) {
	t.Parallel()
	m := waits("a", 10*time.Minute)
	m.Tell = waiting.TellHeld | waiting.TellDecided
	r := newRoom(m)
	r.err = errors.New("broker is gone")
	run(t, r, func(*waiting.Releaser) {
		pass(time.Minute)
		r.fail(nil)
		pass(time.Minute)
		if got := r.said(); !slices.Equal(got, []string{"told 6 of a"}) {
			t.Errorf("told %v, want what was owed once", got)
		}
		pass(8 * time.Minute)
		if got := r.said(); !slices.Equal(got, []string{"told 6 of a", "released a"}) {
			t.Errorf("told %v, want it released in its time", got)
		}
	})
}

func TestReleaserTellsEndings(t *testing.T) {
	t.Parallel()
	late := waits("late", 2*time.Hour)
	paid := waits("paid", time.Hour)
	paid.State, paid.Ending, paid.DueAt = waiting.Settling, waiting.Cancelled, bubble()
	r := newRoom(late, paid)
	run(t, r, func(*waiting.Releaser) {
		pass(90 * time.Minute)
		if got := r.said(); !slices.Equal(got, []string{"cancelled paid", "expired late"}) {
			t.Errorf("told %v, want both endings", got)
		}
		if len(r.mails) != 0 {
			t.Errorf("room still has %v", r.mails)
		}
	})
}

// TestReleaserKeepsBand: where a mail is put is decided when it begins to leave,
// and stays so until it has left, whatever its tenant has there by then.
func TestReleaserKeepsBand(t *testing.T) {
	t.Parallel()
	big, small := waits("a", time.Second), waits("b", time.Second)
	big.Tenant, small.Tenant = "big", "small"
	r := newRoom(big, small)
	r.crowd = crowd.New(crowd.Config{After: 1}, []string{"otp"}, nil, slog.New(slog.DiscardHandler))
	run(t, r, func(*waiting.Releaser) {
		before := r.crowd.Choose("otp", "big")
		r.fail(errors.New("broker is gone"))
		pass(2 * time.Second)
		before.Leave()
		others := r.crowd.Keep("otp", "small", topic.Ordinary)
		r.fail(nil)
		pass(time.Minute)
		others.Leave()
		r.mu.Lock()
		defer r.mu.Unlock()
		for id, want := range map[string]topic.Band{"a": topic.Overflow, "b": topic.Ordinary} {
			got := r.bands[id]
			if len(got) < 2 || slices.ContainsFunc(got, func(b topic.Band) bool { return b != want }) {
				t.Errorf("%s was put into %v, want more than once into %v", id, got, want)
			}
		}
		if n := r.crowd.Crowded()["otp"]; n != 1 {
			t.Errorf("Crowded() = %d, want one: its mail landed in the ordinary band", n)
		}
	})
}
