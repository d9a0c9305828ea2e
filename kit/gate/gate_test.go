package gate_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
)

// yard is a gate in a bubble of simulated time, and who passed it in order.
type yard struct {
	*gate.Gate
	mu     sync.Mutex
	passed []string
	wg     sync.WaitGroup
}

// pass enters in the background and stays for so long.
func (y *yard) pass(t *testing.T, l, name string, stay time.Duration) {
	t.Helper()
	y.of(t, l, "", name, stay)
}

// of is pass for a tenant.
func (y *yard) of(t *testing.T, l, tenant, name string, stay time.Duration) {
	t.Helper()
	y.wg.Go(func() {
		leave, err := y.Enter(t.Context(), l, tenant)
		if err != nil {
			t.Errorf("Enter(%s) = %v, want nil", l, err)
			return
		}
		y.mu.Lock()
		y.passed = append(y.passed, name)
		y.mu.Unlock()
		<-time.After(stay)
		leave()
		leave() // once is enough
	})
	synctest.Wait()
}

func (y *yard) want(t *testing.T, names ...string) {
	t.Helper()
	synctest.Wait()
	y.mu.Lock()
	defer y.mu.Unlock()
	if !slices.Equal(y.passed, names) {
		t.Errorf("passed %v, want %v", y.passed, names)
	}
}

// tire has every lower lane use more than its floor for a while, so that it is
// owed nothing when a test begins.
func (y *yard) tire(t *testing.T) {
	t.Helper()
	for range 1000 {
		for _, l := range lane.Default().Names()[1:] {
			leave, err := y.Enter(t.Context(), l, "")
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Millisecond)
			leave()
		}
	}
}

func bubble(t *testing.T, places int, run func(t *testing.T, y *yard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		y := &yard{Gate: gate.New(gate.Config{Places: places}, lane.Default())}
		y.tire(t)
		run(t, y)
		y.wg.Wait()
	})
}

func TestUrgentGoesFirst(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, y *yard) {
		y.pass(t, lane.Bulk, "b1", 10*time.Millisecond)
		y.pass(t, lane.Bulk, "b2", time.Millisecond)
		y.pass(t, lane.OTP, "o1", time.Millisecond)
		y.pass(t, lane.OTP, "o2", time.Millisecond)
		y.wg.Wait()
		y.want(t, "b1", "o1", "o2", "b2")
	})
}

func TestOnePlaceIsKept(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, y *yard) {
		y.pass(t, lane.OTP, "o1", time.Millisecond)
		<-time.After(100 * time.Millisecond)
		y.pass(t, lane.Bulk, "b1", 10*time.Millisecond)
		y.pass(t, lane.Billing, "b2", time.Millisecond)
		y.want(t, "o1", "b1")
		y.pass(t, lane.OTP, "o2", time.Millisecond)
		y.want(t, "o1", "b1", "o2")
	})
}

func TestNoPlaceIsKeptForNobody(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, y *yard) {
		y.pass(t, lane.OTP, "o1", time.Millisecond)
		<-time.After(time.Second)
		y.pass(t, lane.Bulk, "b1", 10*time.Millisecond)
		y.pass(t, lane.Billing, "b2", time.Millisecond)
		y.want(t, "o1", "b1", "b2")
	})
}

func TestLowerLanesStandBack(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, y *yard) {
		end := y.Begin(lane.OTP, "")
		y.Begin(lane.Bulk, "")() // no business of the gate
		y.pass(t, lane.Bulk, "b1", time.Millisecond)
		y.want(t)
		<-time.After(3 * time.Millisecond)
		y.want(t)
		end()
		end() // once is enough
		y.want(t)
		<-time.After(3 * time.Millisecond)
		y.want(t) // it may be on its way to the next service
		<-time.After(time.Millisecond)
		y.want(t, "b1")
	})
}

func TestStuckMailHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, y *yard) {
		end := y.Begin(lane.OTP, "")
		<-time.After(40 * time.Millisecond)
		y.pass(t, lane.Bulk, "b1", time.Millisecond)
		<-time.After(9 * time.Millisecond)
		y.want(t)
		<-time.After(time.Millisecond)
		y.want(t, "b1")
		y.Begin(lane.OTP, "")() // a quick one does not revive it
		<-time.After(5 * time.Millisecond)
		y.pass(t, lane.Bulk, "b2", time.Millisecond)
		y.want(t, "b1", "b2")
		end()
		y.pass(t, lane.Bulk, "b3", time.Millisecond)
		y.wg.Wait()
		y.want(t, "b1", "b2", "b3")
	})
}

// share floods a gate with steps of a millisecond for ten seconds and answers
// how many each lane had.
func share(t *testing.T, places int, rush bool, floods ...string) map[string]int {
	t.Helper()
	had := map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(gate.Config{Places: places}, lane.Default())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var mu sync.Mutex
		var wg sync.WaitGroup
		if rush {
			wg.Go(func() {
				for ctx.Err() == nil {
					end := g.Begin(lane.OTP, "")
					<-time.After(5 * time.Millisecond)
					end()
				}
			})
		}
		for _, l := range floods {
			for range 4 {
				wg.Go(func() {
					for {
						leave, err := g.Enter(ctx, l, "")
						if err != nil {
							return
						}
						<-time.After(time.Millisecond)
						mu.Lock()
						had[l]++
						mu.Unlock()
						leave()
					}
				})
			}
		}
		wg.Wait()
	})
	return had
}

func TestFloorsAreKept(t *testing.T) {
	t.Parallel()
	for _, places := range []int{1, 2} {
		total := 10000 * places
		for name, had := range map[string]map[string]int{
			"urgent mail in work":       share(t, places, true, lane.Billing, lane.Reminder, lane.Bulk),
			"urgent steps back to back": share(t, places, false, lane.OTP, lane.Billing, lane.Reminder, lane.Bulk),
		} {
			for _, l := range lane.Default()[1:] {
				want := total * l.FloorPercent / 100
				if got := had[l.Name]; got < want*95/100 || got > want*110/100 {
					t.Errorf("%d places, %s: lane %s had %d ms of %d, want its floor, %d", places, name, l.Name, got, total, want)
				}
			}
		}
	}
	both := share(t, 2, true, lane.Bulk, gate.Background)
	for name, want := range map[string]int{lane.Bulk: 1000, gate.Background: 2000} {
		if got := both[name]; got < want*95/100 || got > want*110/100 {
			t.Errorf("beside each other in a rush %q had %d ms of 20000, want its floor, %d", name, got, want)
		}
	}
	lanes := share(t, 2, true, lane.Bulk)
	if got := lanes[lane.Bulk]; got < 950 || got > 1100 {
		t.Errorf("bulk alone had %d ms of 20000 in a rush, want its floor, 1000", got)
	}
}

func TestALaneWithoutFloorDoesNotStarve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lanes := lane.Default()
		lanes[3].FloorPercent = 0
		y := &yard{Gate: gate.New(gate.Config{Places: 1}, lanes)}
		y.tire(t)
		stop := make(chan struct{})
		y.wg.Go(func() {
			for {
				end := y.Begin(lane.OTP, "")
				select {
				case <-time.After(time.Millisecond):
					end()
				case <-stop:
					end()
					return
				}
			}
		})
		synctest.Wait()
		y.pass(t, lane.Bulk, "b1", time.Millisecond)
		y.want(t)
		<-time.After(time.Second)
		y.want(t, "b1")
		close(stop)
	})
}

func TestWeightsShareTheCalm(t *testing.T) {
	t.Parallel()
	had := share(t, 1, false, lane.Billing, lane.Reminder, lane.Bulk)
	total := had[lane.Billing] + had[lane.Reminder] + had[lane.Bulk]
	if total < 9990 {
		t.Errorf("%d ms of 10000 were used", total)
	}
	for _, l := range lane.Default()[1:] {
		want := total * l.Weight / 7
		if got := had[l.Name]; got < want*9/10 || got > want*11/10 {
			t.Errorf("lane %s had %d ms, want %d by its weight", l.Name, got, want)
		}
	}
}

func TestFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, y *yard) {
		for _, name := range []string{"1", "2", "3", "4"} {
			y.pass(t, lane.Bulk, name, time.Millisecond)
		}
		y.wg.Wait()
		y.want(t, "1", "2", "3", "4")
	})
}

func TestTenantsGoByTurns(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, y *yard) {
		for _, name := range []string{"a1", "a2", "a3", "a4", "b1", "b2", "c1", "a5"} {
			y.of(t, lane.Bulk, name[:1], name, time.Millisecond)
		}
		ctx, cancel := context.WithCancel(t.Context())
		y.wg.Go(func() {
			if _, err := y.Enter(ctx, lane.Bulk, "d"); !errors.Is(err, context.Canceled) {
				t.Errorf("Enter = %v, want that its context was cancelled", err)
			}
		})
		synctest.Wait()
		cancel() // gives its turn up
		y.wg.Wait()
		y.want(t, "a1", "a2", "b1", "c1", "a3", "b2", "a4", "a5")
	})
}

func TestEnterEndsWithItsContext(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, y *yard) {
		y.pass(t, lane.OTP, "o1", 10*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := y.Enter(ctx, lane.Bulk, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Enter = %v, want its context's error", err)
		}
		y.pass(t, lane.Bulk, "b1", time.Millisecond) // and leaves nothing behind
		y.wg.Wait()
		y.want(t, "o1", "b1")
	})
}

func TestStrangersAreTheLowestLane(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, y *yard) {
		end := y.Begin(lane.OTP, "")
		y.pass(t, "express", "x", time.Millisecond)
		y.want(t)
		end()
	})
	var none *gate.Gate
	none.Begin(lane.OTP, "")()
	leave, err := none.Enter(t.Context(), lane.Bulk, "")
	if err != nil {
		t.Fatalf("Enter of no gate = %v, want nil", err)
	}
	leave()
}

// TestConcurrent has everybody at once enter, leave, give up and be urgent:
// never more are inside than may be, and all get through.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	const places = 3
	g := gate.New(gate.Config{Places: places, Linger: time.Microsecond}, lane.Default())
	var inside, lower atomic.Int64
	var wg sync.WaitGroup
	for _, l := range lane.Default().Names() {
		for range 4 {
			wg.Go(func() {
				for i := range 200 {
					ctx, cancel := context.WithCancel(t.Context())
					if i%3 == 0 {
						cancel()
						ctx, cancel = context.WithTimeout(t.Context(), rand.N(200*time.Microsecond))
					}
					end := g.Begin(l, string(rune('a'+i%5)))
					leave, err := g.Enter(ctx, l, string(rune('a'+i%5)))
					if err == nil {
						n, m := inside.Add(1), int64(0)
						if l != lane.OTP {
							m = lower.Add(1)
						}
						if n > places || m > places-1 {
							t.Errorf("%d inside, %d of lower lanes, want %d and %d at most", n, m, places, places-1)
						}
						if l != lane.OTP {
							lower.Add(-1)
						}
						inside.Add(-1)
						leave()
					}
					end()
					cancel()
				}
			})
		}
	}
	wg.Wait()
	if _, err := g.Enter(t.Context(), lane.Bulk, ""); err != nil {
		t.Errorf("Enter after all = %v, want nil", err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	g := gate.New(gate.Config{}, lane.Default())
	if err := g.Measure(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test")); err != nil {
		t.Fatal(err)
	}
	leave, err := g.Enter(t.Context(), lane.Bulk, "")
	if err != nil {
		t.Fatal(err)
	}
	leave()
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range got.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range d.DataPoints {
				if l, _ := p.Attributes.Value(attribute.Key("lane")); l.AsString() == lane.Bulk && p.Value == 1 {
					seen[m.Name] = true
				}
			}
		case metricdata.Histogram[float64]:
			seen[m.Name] = d.DataPoints[0].Count == 1
		case metricdata.Gauge[int64]:
			seen[m.Name] = len(d.DataPoints) == len(lane.Default())+1 // and the background
		}
	}
	for _, name := range []string{"kurir_gate_entered", "kurir_gate_wait_seconds", "kurir_gate_waiting"} {
		if !seen[name] {
			t.Errorf("metric %s tells nothing of a step that passed: %v", name, seen)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []gate.Config{{Places: -1}, {Linger: -1}, {Linger: time.Minute}, {BigFloorPercent: -1}, {BigFloorPercent: 101}} {
		if err := cfg.Validate(); err == nil {
			t.Errorf("Validate(%+v) = nil, want a fault", cfg)
		}
	}
	if err := (gate.Config{}).Validate(); err != nil {
		t.Errorf("Validate of the zero config = %v, want nil", err)
	}
}

func BenchmarkEnter(b *testing.B) {
	g := gate.New(gate.Config{}, lane.Default())
	for b.Loop() {
		leave, err := g.Enter(b.Context(), lane.Bulk, "")
		if err != nil {
			b.Fatal(err)
		}
		leave()
	}
}
