package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/kit/app"
)

// diary remembers what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) read() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}

// part writes its start and stop into d.
func (d *diary) part(name string) app.Part {
	return app.Part{
		Name:  name,
		Start: func(context.Context) error { d.write("+%s", name); return nil },
		Stop:  func(context.Context) error { d.write("-%s", name); return nil },
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestRunStartsInOrderAndStopsInReverse(t *testing.T) {
	t.Parallel()
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	last := d.part("c")
	start := last.Start
	last.Start = func(ctx context.Context) error { defer cancel(); return start(ctx) }
	if err := app.Run(ctx, quiet(), time.Minute, d.part("a"), app.Part{Name: "empty"}, d.part("b"), last); err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
	if got, want := d.read(), "+a +b +c -c -b -a"; got != want {
		t.Errorf("life = %q, want %q", got, want)
	}
}

func TestRunStopsWhatStartedWhenAStartFails(t *testing.T) {
	t.Parallel()
	var d diary
	broken := errors.New("port taken")
	bad := app.Part{Name: "bad", Start: func(context.Context) error { return broken }, Stop: d.part("bad").Stop}
	err := app.Run(t.Context(), quiet(), time.Minute, d.part("a"), bad, d.part("c"))
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "starting bad") {
		t.Errorf("Run() = %v, want starting bad: port taken", err)
	}
	if got, want := d.read(), "+a -a"; got != want {
		t.Errorf("life = %q, want %q", got, want)
	}
}

func TestRunStopsAllWhenAPartFails(t *testing.T) {
	t.Parallel()
	var d diary
	broken := errors.New("disk gone")
	failed := make(chan error, 1)
	b := d.part("b")
	b.Failed = failed
	c := d.part("c")
	c.Start = func(context.Context) error { d.write("+c"); failed <- broken; return nil }
	err := app.Run(t.Context(), quiet(), time.Minute, d.part("a"), b, c)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "b failed") {
		t.Errorf("Run() = %v, want b failed: disk gone", err)
	}
	if got, want := d.read(), "+a +b +c -c -b -a"; got != want {
		t.Errorf("life = %q, want %q", got, want)
	}
}

func TestRunCutsAStartShort(t *testing.T) {
	t.Parallel()
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	waiting := app.Part{Name: "waiting", Start: func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}}
	if err := app.Run(ctx, quiet(), time.Minute, d.part("a"), waiting, d.part("c")); err != nil {
		t.Errorf("Run() = %v, want nil: the end was ordered", err)
	}
	if got, want := d.read(), "+a -a"; got != want {
		t.Errorf("life = %q, want %q", got, want)
	}
}

func TestRunClosedFailedIsNoFailure(t *testing.T) {
	t.Parallel()
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	a := d.part("a")
	closed := make(chan error)
	close(closed)
	a.Failed = closed
	b := d.part("b")
	b.Start = func(context.Context) error { cancel(); return nil }
	if err := app.Run(ctx, quiet(), time.Minute, a, b); err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
}

func TestRunBoundsTheDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const drain = 10 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		var left time.Duration
		began := time.Now()
		first := app.Part{Name: "first", Stop: func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			return nil
		}}
		deaf := app.Part{Name: "deaf", Stop: func(context.Context) error { <-release; return nil }}
		slow := app.Part{
			Name:  "slow",
			Start: func(context.Context) error { cancel(); return nil },
			Stop:  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		}
		err := app.Run(ctx, quiet(), drain, first, deaf, slow)
		took := time.Since(began)
		close(release)
		synctest.Wait()

		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run() = %v, want the slow part's deadline", err)
		}
		if err == nil || !strings.Contains(err.Error(), "stopping deaf: did not end in time") {
			t.Errorf("Run() = %v, want the deaf part left behind", err)
		}
		if want := drain + 2*drain/10; took != want {
			t.Errorf("stopping took %v, want %v", took, want)
		}
		if want := drain / 10; left != want {
			t.Errorf("time left for the first part = %v, want %v", left, want)
		}
	})
}

func TestLoop(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	tests := []struct {
		name string
		run  func(ctx context.Context) error
		want error
	}{
		{"until stopped", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, nil},
		{"ends early", func(context.Context) error { return nil }, nil},
		{"fails at the end", func(ctx context.Context) error { <-ctx.Done(); return broken }, broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			stopper := app.Part{Name: "stopper", Start: func(context.Context) error { cancel(); return nil }}
			if err := app.Run(ctx, quiet(), time.Minute, app.Loop("loop", tt.run), stopper); !errors.Is(err, tt.want) {
				t.Errorf("Run(Loop) = %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("fails", func(t *testing.T) {
		t.Parallel()
		err := app.Run(t.Context(), quiet(), time.Minute, app.Loop("loop", func(context.Context) error { return broken }))
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "loop failed") {
			t.Errorf("Run(Loop) = %v, want loop failed: broken", err)
		}
	})
}

func TestLoopOutlivesTheOrderToStop(t *testing.T) {
	t.Parallel()
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	loop := app.Loop("loop", func(ctx context.Context) error {
		<-ctx.Done()
		d.write("loop ends")
		return nil
	})
	after := d.part("after")
	after.Start = func(context.Context) error { cancel(); return nil }
	if err := app.Run(ctx, quiet(), time.Minute, loop, after); err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
	if got, want := d.read(), "-after loop ends"; got != want {
		t.Errorf("life = %q, want %q", got, want)
	}
}

func TestLoopStopIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		loop := app.Loop("deaf", func(context.Context) error { <-release; return nil })
		if err := loop.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := loop.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop() = %v, want DeadlineExceeded", err)
		}
		close(release)
	})
}

func TestReady(t *testing.T) {
	t.Parallel()
	r := app.NewReady()
	if ok, why := r.OK(); !ok || why != "" {
		t.Errorf("OK() = %v, %q, want true without gates", ok, why)
	}
	changed := r.Changed()
	r.Set("store", false, "migrating")
	r.Set("broker", false, "unreachable")
	<-changed
	if ok, why := r.OK(); ok || why != "broker: unreachable; store: migrating" {
		t.Errorf("OK() = %v, %q, want both reasons", ok, why)
	}
	changed = r.Changed()
	r.Set("store", false, "migrating") // nothing new
	select {
	case <-changed:
		t.Error("Changed() fired, want silence when nothing changed")
	default:
	}
	r.Set("store", true, "")
	r.Set("broker", true, "")
	<-changed
	if ok, why := r.OK(); !ok {
		t.Errorf("OK() = %v, %q, want true", ok, why)
	}
}

func TestReadyConcurrent(t *testing.T) {
	t.Parallel()
	r := app.NewReady()
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		wg.Go(func() {
			for i := range 200 {
				r.Set(name, i%2 == 1, "odd")
				r.OK()
			}
		})
	}
	for {
		changed := r.Changed()
		if ok, _ := r.OK(); ok {
			break
		}
		<-changed
	}
	wg.Wait()
	if ok, why := r.OK(); !ok {
		t.Errorf("OK() = false, %q, want true", why)
	}
}
