package app_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/app"
)

// steps notes what parts do.
type steps struct {
	mu    sync.Mutex
	lines []string
}

func (d *steps) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *steps) part(name string, start error) app.Part {
	return app.Part{
		Name:  name,
		Start: func(context.Context) error { d.note("start " + name); return start },
		Stop:  func(context.Context) error { d.note("stop " + name); return nil },
	}
}

func TestJoinOrder(t *testing.T) {
	t.Parallel()
	var d steps
	p := app.Join("both", d.part("a", nil), d.part("b", nil))
	if err := p.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatalf("Stop() = %v", err)
	}
	if diff := cmp.Diff([]string{"start a", "start b", "stop b", "stop a"}, d.lines); diff != "" {
		t.Errorf("order mismatch (-want +got):\n%s", diff)
	}
}

func TestJoinStopsWhatStarted(t *testing.T) {
	t.Parallel()
	var d steps
	broken := errors.New("broken")
	p := app.Join("three", d.part("a", nil), d.part("b", broken), d.part("c", nil))
	if err := p.Start(t.Context()); !errors.Is(err, broken) || !strings.Contains(err.Error(), "starting b") {
		t.Errorf("Start() = %v, want why b did not start", err)
	}
	if diff := cmp.Diff([]string{"start a", "start b", "stop a"}, d.lines); diff != "" {
		t.Errorf("order mismatch (-want +got):\n%s", diff)
	}
}

func TestJoinFails(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	p := app.Join("one", app.Part{Name: "a", Failed: failed})
	if err := p.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v", err)
	}
	broken := errors.New("broken")
	failed <- broken
	if err := <-p.Failed; !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "a: ") {
		t.Errorf("Failed = %v, want a's failure by name", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("Stop() = %v", err)
	}
}

func TestTogetherStopsAtOnce(t *testing.T) {
	t.Parallel()
	meet := make(chan struct{}) // both stops must be under way for either to end
	one := app.Part{Name: "a", Stop: func(context.Context) error { meet <- struct{}{}; return nil }}
	two := app.Part{Name: "b", Stop: func(context.Context) error { <-meet; return nil }}
	p := app.Together("both", one, two)
	if err := p.Start(t.Context()); err != nil {
		t.Fatalf("Start() = %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("Stop() = %v", err)
	}
}
