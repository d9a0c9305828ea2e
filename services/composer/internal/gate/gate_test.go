package gate_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"kurir.dev/services/composer/internal/gate"
)

func TestUrgentFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(1)
		hold, err := g.Enter(t.Context(), false)
		if err != nil {
			t.Fatalf("Enter = %v", err)
		}
		var (
			mu    sync.Mutex
			order []bool
			wg    sync.WaitGroup
		)
		come := func(urgent bool) {
			wg.Go(func() {
				leave, err := g.Enter(t.Context(), urgent)
				if err != nil {
					t.Errorf("Enter = %v", err)
					return
				}
				mu.Lock()
				order = append(order, urgent)
				mu.Unlock()
				leave()
			})
			synctest.Wait()
		}
		for range 3 {
			come(false)
		}
		for range 40 {
			come(true)
		}
		hold()
		wg.Wait()
		for i, urgent := range order {
			if want := i != 16 && i != 33 && i != 42; urgent != want {
				t.Errorf("the worker admitted as number %d is urgent: %v, want %v", i, urgent, want)
			}
		}
	})
}

func TestGivingUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(1)
		hold, err := g.Enter(t.Context(), true)
		if err != nil {
			t.Fatalf("Enter = %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := g.Enter(ctx, true); !errors.Is(err, context.Canceled) {
				t.Errorf("Enter = %v, want context.Canceled", err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		if _, err := g.Enter(ctx, true); !errors.Is(err, context.Canceled) {
			t.Errorf("Enter = %v, want context.Canceled", err)
		}
		hold()
		leave, err := g.Enter(t.Context(), false)
		if err != nil {
			t.Fatalf("Enter = %v, want the place that was given up", err)
		}
		leave()
	})
}

func TestGateConcurrent(t *testing.T) {
	t.Parallel()
	const places = 3
	g := gate.New(places)
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%8 == 0 {
					cancel()
				}
				if leave, err := g.Enter(ctx, i%4 == 0); err == nil {
					n := inside.Add(1)
					for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
					inside.Add(-1)
					leave()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if got := most.Load(); got > places {
		t.Errorf("%d were inside at once, want at most %d", got, places)
	}
}
