package waiting_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
}

func newRoom(mails ...waiting.Mail) *room {
	r := &room{mails: map[string]waiting.Mail{}, wake: map[string]time.Time{}}
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

func (r *room) Claim(_ context.Context, now, lease time.Time, limit int) ([]waiting.Mail, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims++
	var claimed []waiting.Mail
	for id, m := range r.mails {
		if r.wake[id].After(now) || len(claimed) == limit {
			continue
		}
		m = m.Decide(now, "")
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

func (r *room) Postpone(_ context.Context, refs []waiting.Ref, wake time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ref := range refs {
		r.wake[ref.ID] = wake
	}
	return nil
}

func (r *room) NextWake(context.Context) (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var next time.Time
	for _, w := range r.wake {
		if next.IsZero() || w.Before(next) {
			next = w
		}
	}
	return next, nil
}

func (r *room) Release(_ context.Context, m waiting.Mail) error { return r.tell("released " + m.ID) }

func (r *room) Settle(_ context.Context, m waiting.Mail) error {
	return r.tell(m.Ending.String() + " " + m.ID)
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
		rel := waiting.NewReleaser(r, r, waiting.Default(), slog.New(slog.DiscardHandler), waiting.Meter{}, time.Now)
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
	return waiting.Mail{ID: id, Attempt: 2, State: waiting.Deferred, DueAt: bubble().Add(in), ExpiresAt: bubble().Add(time.Hour)}
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
		rel.Wake(bubble().Add(1600 * time.Millisecond))
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
		rel.Wake(bubble().Add(2 * time.Second))
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

func TestReleaserKeepsWhatItCannotOpen(t *testing.T) {
	t.Parallel()
	r := newRoom(waits("a", 0))
	r.err = waiting.ErrUnreadable
	run(t, r, func(*waiting.Releaser) {
		pass(2 * time.Hour)
		r.fail(nil)
		pass(2 * time.Hour)
		if got := r.said(); !slices.Equal(got, []string{"released a"}) {
			t.Errorf("told %v, want a released once the key was back, though its time was over", got)
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
