package db_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"kurir.dev/kit/db"
)

// slow is a commit that waits to be let go, and remembers its batches.
type slow struct {
	gate    chan struct{}
	mu      sync.Mutex
	batches [][]int
}

func (s *slow) commit(ctx context.Context, batch []int) ([]int, error) {
	s.mu.Lock()
	s.batches = append(s.batches, slices.Clone(batch))
	s.mu.Unlock()
	select {
	case <-s.gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	out := make([]int, len(batch))
	for i, n := range batch {
		out[i] = n * n
	}
	return out, nil
}

func (s *slow) sizes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []int
	for _, b := range s.batches {
		out = append(out, len(b))
	}
	return out
}

func start[T, R any](t *testing.T, g *db.Group[T, R]) (stop func(ctx context.Context) error) {
	t.Helper()
	part := g.Part()
	if err := part.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	return part.Stop
}

func TestGroupGathersWhileItCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{gate: make(chan struct{})}
		g := db.NewGroup(4, s.commit)
		stop := start(t, g)
		var wg sync.WaitGroup
		do := func(n int) {
			wg.Go(func() {
				if got, err := g.Do(t.Context(), n); got != n*n || err != nil {
					t.Errorf("Do(%d) = %d, %v, want %d", n, got, err, n*n)
				}
			})
		}
		do(1)
		synctest.Wait()
		for n := 2; n < 9; n++ { // arrive while the first commit runs
			do(n)
		}
		synctest.Wait()
		close(s.gate)
		wg.Wait()
		if got, want := s.sizes(), []int{1, 4, 3}; !slices.Equal(got, want) {
			t.Errorf("batches of %v, want %v", got, want)
		}
		if err := stop(t.Context()); err != nil {
			t.Errorf("Stop = %v", err)
		}
		if _, err := g.Do(t.Context(), 1); !errors.Is(err, db.ErrStopped) {
			t.Errorf("Do after Stop = %v, want ErrStopped", err)
		}
		if err := stop(t.Context()); err != nil {
			t.Errorf("a second Stop = %v", err)
		}
	})
}

func TestGroupCallersMayLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{gate: make(chan struct{})}
		g := db.NewGroup(4, s.commit)
		stop := start(t, g)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 20 { // some commit, four wait in the queue, the rest before it
			wg.Go(func() {
				if _, err := g.Do(ctx, 3); !errors.Is(err, context.Canceled) {
					t.Errorf("Do = %v, want canceled", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		close(s.gate)
		if err := stop(t.Context()); err != nil {
			t.Errorf("Stop = %v", err)
		}
		if got := s.sizes(); len(got) != 1 {
			t.Errorf("batches of %v, want only the one that ran when its callers left", got)
		}
	})
}

func TestGroupStopDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{gate: make(chan struct{})}
		g := db.NewGroup(2, s.commit)
		stop := start(t, g)
		results := make(chan error, 6)
		for n := range 6 {
			go func() {
				_, err := g.Do(t.Context(), n)
				results <- err
			}()
			synctest.Wait()
		}
		stopped := make(chan error, 1)
		go func() { stopped <- stop(t.Context()) }()
		synctest.Wait()
		close(s.gate)
		if err := <-stopped; err != nil {
			t.Errorf("Stop = %v", err)
		}
		refused := 0
		for range 6 {
			switch err := <-results; {
			case errors.Is(err, db.ErrStopped):
				refused++
			case err != nil:
				t.Errorf("Do = %v", err)
			}
		}
		// One was committing and two were handed in; three stood at the door.
		if refused != 3 || !slices.Equal(s.sizes(), []int{1, 2}) {
			t.Errorf("%d refused, batches %v, want 3 and [1 2]", refused, s.sizes())
		}
	})
}

func TestGroupStopIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{gate: make(chan struct{})} // never opens
		g := db.NewGroup(2, s.commit)
		stop := start(t, g)
		result := make(chan error, 1)
		go func() {
			_, err := g.Do(t.Context(), 1)
			result <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := stop(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Stop = %v, want canceled", err)
		}
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Do = %v, want canceled", err)
		}
	})
}

func TestGroupNeverStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := db.NewGroup(1, func(_ context.Context, batch []int) ([]int, error) { return batch, nil })
		result := make(chan error, 1)
		go func() {
			_, err := g.Do(t.Context(), 1)
			result <- err
		}()
		synctest.Wait()
		if err := g.Part().Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v", err)
		}
		if err := <-result; !errors.Is(err, db.ErrStopped) {
			t.Errorf("Do = %v, want ErrStopped", err)
		}
	})
}

func TestGroupContainsFaults(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	g := db.NewGroup(0, func(_ context.Context, batch []string) ([]string, error) {
		switch batch[0] {
		case "panic":
			panic("out of luck")
		case "fail":
			return nil, broken
		case "short":
			return nil, nil
		}
		return batch, nil
	})
	stop := start(t, g)
	for item, want := range map[string]string{"panic": "panicked: out of luck", "fail": "broken", "short": "0 results for 1 items"} {
		if _, err := g.Do(t.Context(), item); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Do(%q) = %v, want %q", item, err, want)
		}
		if got, err := g.Do(t.Context(), "fine"); got != "fine" || err != nil {
			t.Errorf("Do after %q = %q, %v", item, got, err)
		}
	}
	if err := stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
}

func TestGroupConcurrent(t *testing.T) {
	t.Parallel()
	g := db.NewGroup(16, func(_ context.Context, batch []int) ([]int, error) {
		if len(batch) > 16 {
			t.Errorf("a batch of %d, want at most 16", len(batch))
		}
		return batch, nil
	})
	stop := start(t, g)
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			for range 50 {
				if got, err := g.Do(t.Context(), n); got != n || err != nil {
					t.Errorf("Do(%d) = %d, %v", n, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
}

func BenchmarkGroup(b *testing.B) {
	g := db.NewGroup(256, func(_ context.Context, batch []int) ([]int, error) { return batch, nil })
	part := g.Part()
	if err := part.Start(b.Context()); err != nil {
		b.Fatalf("Start: %v", err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := g.Do(b.Context(), 1); err != nil {
				b.Errorf("Do: %v", err)
			}
		}
	})
	if err := part.Stop(context.WithoutCancel(b.Context())); err != nil {
		b.Errorf("Stop: %v", err)
	}
}
