package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurns: who ranks first goes first, in the order of arrival, and nobody
// waits for ever.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var q turns
		end, err := q.take(t.Context(), rankPeople)
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan rank, 100)
		wait := func(r rank) {
			go func() {
				end, err := q.take(t.Context(), r)
				if err != nil {
					t.Error(err)
					return
				}
				order <- r
				end()
			}()
			synctest.Wait()
		}
		for _, r := range []rank{rankPeople, rankDue, rankIntake, rankUrgent, rankUrgent} {
			wait(r)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := q.take(ctx, rankUrgent)
			gone <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("take() of one who left = %v, want context.Canceled", err)
		}
		end()
		for i, want := range []rank{rankUrgent, rankUrgent, rankIntake, rankDue, rankPeople} {
			if got := <-order; got != want {
				t.Errorf("turn %d is of rank %d, want %d", i, got, want)
			}
		}
		end, err = q.take(t.Context(), rankUrgent)
		if err != nil {
			t.Fatal(err)
		}
		wait(rankPeople)
		for range 2 * patience {
			wait(rankUrgent)
		}
		end()
		for i := range 2*patience + 1 {
			if <-order == rankPeople && i > patience {
				t.Errorf("the last in rank waited for %d turns, want at most %d", i, patience)
			}
		}
	})
}

// TestOver: a turn ends for those of a higher rank at once, for others when it
// has lasted long, and that of one whom many passed lasts that long in any case.
func TestOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now
		long := func() time.Time { return time.Now().Add(-slice) }
		for _, tc := range []struct {
			name    string
			waiting []rank
			spared  bool
			begun   time.Time
			want    bool
		}{
			{"nobody waits", nil, false, long(), false},
			{"a lower one waits", []rank{rankDue}, false, now(), false},
			{"an equal one waits", []rank{rankIntake}, false, now(), false},
			{"a higher one waits", []rank{rankUrgent}, false, now(), true},
			{"a lower one waits long", []rank{rankDue}, false, long(), true},
			{"a higher one waits for one who waited", []rank{rankUrgent}, true, now(), false},
			{"a higher one waits long for one who waited", []rank{rankUrgent}, true, long(), true},
		} {
			q := turns{writing: true, spared: tc.spared}
			for _, r := range tc.waiting {
				q.lines[r] = append(q.lines[r], &turn{})
			}
			if got := q.over(rankIntake, tc.begun); got != tc.want {
				t.Errorf("%s: over() = %t, want %t", tc.name, got, tc.want)
			}
		}
		if !(*turns)(nil).over(rankIntake, now()) {
			t.Error("nil turns: over() = false, want true")
		}
	})
}
