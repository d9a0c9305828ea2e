package app

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// growth is the percentage by which a small heap grows between collections.
	// What lives in these programs is small and what passes through them is not:
	// at Go's 100 a sixth more processor time goes into mail, above 200 nothing
	// is saved.
	growth = 200
	// least is the percentage by which any heap grows.
	least = 50
	// roomy is what a heap may grow to by more than least.
	roomy = 208 << 20
	// coarse is a change of the percentage that is worth making: it stops the
	// world.
	coarse = 10
)

// collector adapts how far the heap grows to what lives in it, after each
// collection: thrice while little does, less the more does, by half at least. So
// windows that are full cost memory for what they hold, and not thrice that, and
// collections do not crowd out the work.
type collector struct {
	percent int
	live    []metrics.Sample
}

// collect begins to adapt.
func collect() {
	c := &collector{percent: growth, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	debug.SetGCPercent(growth)
	runtime.SetFinalizer(&cycle{c}, (*cycle).over)
}

// cycle is unreachable, which each collection finds.
type cycle struct{ collector *collector }

func (x *cycle) over() {
	x.collector.adapt()
	runtime.SetFinalizer(x, (*cycle).over)
}

func (c *collector) adapt() {
	metrics.Read(c.live)
	if p := percent(c.live[0].Value.Uint64()); p-c.percent >= coarse || c.percent-p >= coarse || p == least && c.percent != least {
		c.percent = p
		debug.SetGCPercent(p)
	}
}

// percent is by how much a heap shall grow of which so many bytes live.
func percent(live uint64) int {
	if live == 0 {
		return growth
	}
	return int(min(max(100*roomy/live, 100+least), 100+growth)) - 100
}
