package gate_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
)

// grow has a tenant use so much of lanes that it is a big one of each, beyond
// its floor.
func (y *yard) grow(t *testing.T, tenant string, lanes ...string) {
	t.Helper()
	for range 200 {
		for _, l := range lanes {
			leave, err := y.Enter(t.Context(), l, tenant)
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Millisecond)
			leave()
		}
	}
}

func TestBigTenantsStandBack(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, y *yard) {
		y.grow(t, "big", lane.Default().Names()...)
		y.Begin(lane.Bulk, "big")() // for whom nobody stands back
		y.of(t, lane.Bulk, "big", "b1", time.Millisecond)
		y.want(t, "b1")
		<-time.After(time.Millisecond)
		end := y.Begin(lane.Reminder, "small")
		y.of(t, lane.Bulk, "big", "b2", time.Millisecond)
		y.of(t, lane.Reminder, "big", "r1", time.Millisecond)
		y.want(t, "b1")
		y.of(t, lane.Billing, "big", "i1", time.Millisecond) // of a lane above
		y.of(t, lane.OTP, "big", "o1", time.Millisecond)
		<-time.After(time.Millisecond)
		y.of(t, lane.Bulk, "small", "b3", time.Millisecond)
		y.want(t, "b1", "i1", "o1", "b3")
		end()
		<-time.After(3 * time.Millisecond)
		y.want(t, "b1", "i1", "o1", "b3") // it may be on its way to the next service
		y.wg.Wait()
		y.want(t, "b1", "i1", "o1", "b3", "r1", "b2")
	})
}

func TestSmallTenantsGoFirst(t *testing.T) {
	t.Parallel()
	for _, l := range []string{lane.OTP, lane.Bulk} {
		bubble(t, 1, func(t *testing.T, y *yard) {
			y.grow(t, "big", l)
			y.of(t, l, "big", "b1", 10*time.Millisecond)
			y.of(t, l, "big", "b2", time.Millisecond)
			y.of(t, l, "small", "s1", time.Millisecond)
			y.of(t, l, "other", "s2", time.Millisecond)
			y.of(t, l, "small", "s3", time.Millisecond)
			y.wg.Wait()
			y.want(t, "b1", "s1", "s2", "s3", "b2")
		})
	}
}

func TestAStepOfSeveralGoesAsTheSmallest(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, y *yard) {
		y.grow(t, "big", lane.Bulk)
		y.grow(t, "bigger", lane.Bulk)
		defer y.Begin(lane.Bulk, "small")()
		y.wg.Go(func() {
			leave, err := y.Enter(t.Context(), lane.Bulk, "bigger", "small", "big")
			if err != nil {
				t.Errorf("Enter = %v, want nil", err)
				return
			}
			y.mu.Lock()
			y.passed = append(y.passed, "all")
			y.mu.Unlock()
			leave()
		})
		y.want(t, "all")
	})
}

func TestTenantsGrowSmallAgain(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, y *yard) {
		y.grow(t, "big", lane.Bulk)
		<-time.After(3 * time.Second)
		defer y.Begin(lane.Bulk, "small")()
		y.of(t, lane.Bulk, "big", "b1", time.Millisecond)
		y.want(t, "b1")
	})
}

// beside floods the bulk lane with a big tenant's steps of a millisecond for ten
// seconds, while small tenants always have mail in work and, if they flood, too,
// a thousand of them as many steps; it answers how many the big one had.
func beside(t *testing.T, cfg gate.Config, flood bool) (big int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		y := &yard{Gate: gate.New(cfg, lane.Default())}
		y.grow(t, "big", lane.Bulk)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var mu sync.Mutex
		step := func(tenant string, had *int) bool {
			leave, err := y.Enter(ctx, lane.Bulk, tenant)
			if err != nil {
				return false
			}
			defer leave()
			<-time.After(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			*had++
			return true
		}
		y.wg.Go(func() {
			for ctx.Err() == nil {
				end := y.Begin(lane.Bulk, "small")
				<-time.After(5 * time.Millisecond)
				end()
			}
		})
		smalls := 0
		for worker := range 4 {
			y.wg.Go(func() {
				for step("big", &big) {
				}
			})
			if flood {
				y.wg.Go(func() {
					for i := worker; step(strconv.Itoa(i%1000), &smalls); i += 4 {
					}
				})
			}
		}
		y.wg.Wait()
	})
	return big
}

func TestBigTenantsKeepTheirFloor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg   gate.Config
		flood bool
		want  int
	}{
		{gate.Config{Places: 2}, false, 1000},
		{gate.Config{Places: 2}, true, 1000},
		{gate.Config{Places: 1, BigFloorPercent: 20}, true, 2000},
		{gate.Config{Places: 2, BigFloorPercent: 100}, false, 20000},
	} {
		if got := beside(t, c.cfg, c.flood); got < c.want*95/100 || got > c.want*110/100 {
			t.Errorf("%+v, small tenants flood %t: a big one had %d ms in 10 s, want %d", c.cfg, c.flood, got, c.want)
		}
	}
}
