package gate_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"kurir.dev/services/dispatcher/internal/gate"
)

func TestUrgentGoesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(2)
		first, err := g.Enter(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		var order []string
		enter := func(name string, urgent bool) {
			go func() {
				leave, err := g.Enter(t.Context(), urgent)
				if err != nil {
					return // the test has ended
				}
				order = append(order, name)
				if name == "u1" {
					return // keeps its place
				}
				leave()
			}()
			synctest.Wait()
		}
		enter("b1", false) // the second place is not for it
		enter("u1", true)
		enter("u2", true)
		if len(order) != 1 || order[0] != "u1" {
			t.Fatalf("passed %v, want u1 alone", order)
		}
		first()
		synctest.Wait()
		if len(order) != 2 || order[1] != "u2" {
			t.Errorf("passed %v, want u1, u2 and b1 waiting for more than the kept place", order)
		}
	})
}

func TestEnterEndsWithItsContext(t *testing.T) {
	t.Parallel()
	g := gate.New(1)
	leave, err := g.Enter(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Enter(ctx, true); !errors.Is(err, context.Canceled) {
		t.Errorf("Enter = %v, want cancelled", err)
	}
	leave()
	if _, err := g.Enter(t.Context(), false); err != nil {
		t.Errorf("Enter after Leave: %v", err)
	}
}
