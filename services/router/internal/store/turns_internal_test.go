package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
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
