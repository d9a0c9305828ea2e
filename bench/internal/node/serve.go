package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/metrics"
	"runtime/pprof"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kurir.dev/cmd/kurir/mesh"
)

// hello is what a node says when it is ready.
type hello struct {
	Doors map[string]string // addresses by name of the service
}

// Runtime is what Go's runtime knows of the use of memory.
type Runtime struct {
	Allocations    uint64 // objects
	AllocatedBytes uint64
	PeakHeap       uint64 // bytes in objects, the most seen
}

// Serve runs the mesh of a Spec in JSON until in ends. It answers each line of
// in with a Runtime.
func Serve(ctx context.Context, text string, in io.Reader, out io.Writer) error {
	var spec Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return fmt.Errorf("reading the node's specification: %w", err)
	}
	stop, err := profile(spec.Profile)
	if err != nil {
		return err
	}
	defer stop()
	m, err := mesh.New(ctx, spec.config())
	if err != nil {
		return err
	}
	return m.Run(ctx, func(ctx context.Context) error {
		answers := json.NewEncoder(out)
		h := hello{Doors: make(map[string]string)}
		for _, d := range m.Doors() {
			h.Doors[d.Name] = d.Addr
		}
		if err := answers.Encode(h); err != nil {
			return fmt.Errorf("saying hello: %w", err)
		}
		ctx, cancel := context.WithCancel(ctx)
		w := newWatch()
		var watching errgroup.Group
		watching.Go(func() error { w.run(ctx); return nil })
		defer func() {
			cancel()
			_ = watching.Wait()
		}()
		for questions := bufio.NewScanner(in); questions.Scan(); {
			if err := answers.Encode(w.read()); err != nil {
				return fmt.Errorf("answering: %w", err)
			}
		}
		return nil
	})
}

// profile writes where the processors' time goes to file until stop is called.
func profile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("writing a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("writing a profile: %w", err), f.Close())
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

// watch looks at the heap all the time, which nobody else remembers the peak of.
type watch struct {
	mu      sync.Mutex
	samples []metrics.Sample // guarded by mu, as is peak
	peak    uint64
}

func newWatch() *watch {
	return &watch{samples: []metrics.Sample{
		{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
	}}
}

func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		w.read()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watch) read() Runtime {
	w.mu.Lock()
	defer w.mu.Unlock()
	metrics.Read(w.samples)
	w.peak = max(w.peak, w.samples[2].Value.Uint64())
	return Runtime{Allocations: w.samples[0].Value.Uint64(), AllocatedBytes: w.samples[1].Value.Uint64(), PeakHeap: w.peak}
}
