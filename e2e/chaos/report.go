package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"

	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

type rpcConn = grpc.ClientConn

// report is the table at the end of a run.
type report struct {
	storm, drain time.Duration
	fates        map[string]int
	windows      map[Window]int
	gauges       map[string][2]Gauge

	calls, replays, untold, copies        int
	doubles, marked, unmarked, overmarked int
	metric, doubts                        int // possible duplicates counted by dispatchers, and seen by hosts
	untimely                              int // timelines without the event of acceptance
}

func newReport() report {
	return report{fates: map[string]int{}, windows: map[Window]int{}, gauges: map[string][2]Gauge{}}
}

// add counts a mail.
func (r *report) add(m *Mail, c Case, f Finding, strokes []Stroke) {
	r.calls += m.Calls
	r.copies += len(c.Story.Copies)
	for _, one := range c.Story.Copies {
		if one.Dropped && !shaken(*one, strokes) {
			r.doubts++
		}
	}
	switch {
	case !c.Accepted:
		r.untold++
		r.fates[fmt.Sprintf("never answered with OK, %d copies", len(c.Story.Copies))]++
	default:
		r.fates[name(f.Final)]++
		if !slices.ContainsFunc(c.Timeline, func(ev *eventsv1.Event) bool {
			return ev.GetType() == eventsv1.EventType_EVENT_TYPE_ACCEPTED || ev.GetType() == eventsv1.EventType_EVENT_TYPE_SCHEDULED
		}) {
			r.untimely++
		}
	}
	if m.Again > 0 && c.Accepted {
		r.replays++
	}
	for _, w := range f.Window {
		r.windows[w]++
	}
	switch double := len(f.Window) > 0; {
	case double && f.Marked:
		r.doubles++
		r.marked++
	case double:
		r.doubles++
		r.unmarked++
	case f.Marked:
		r.overmarked++
	}
}

// shaken says that the dispatcher of a copy may not have lived to count it.
func shaken(c Copy, strokes []Stroke) bool {
	name, _, _ := strings.Cut(c.Sender, ".")
	return slices.ContainsFunc(strokes, func(s Stroke) bool { return !s.Act.cuts() && s.hits(c.Data, c.At.Add(time.Second), name) })
}

func name(t eventsv1.EventType) string {
	return strings.ToLower(strings.TrimPrefix(t.String(), "EVENT_TYPE_"))
}

// String is the table.
func (r *report) String(strokes []Stroke) string {
	kills, faults := map[string]int{}, map[Act]int{}
	total := 0
	for _, s := range strokes {
		faults[s.Act]++
		if s.kills() == 0 {
			continue
		}
		for target := range strings.SplitSeq(s.Target, "+") {
			kills[target]++
			total++
		}
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	row := func(what string, value any) { fmt.Fprintf(w, "%s\t%v\n", what, value) }
	fmt.Fprintln(w)
	row("kill -9", total)
	for _, target := range slices.Sorted(maps.Keys(kills)) {
		row("  "+target, kills[target])
	}
	for _, act := range []Act{KillTwo, Restart, Freeze, Drop, Refuse, Silence} {
		row(string(act), faults[act])
	}
	row("calls", r.calls)
	row("sent again under their key", r.replays)
	for _, fate := range slices.Sorted(maps.Keys(r.fates)) {
		row("mails "+fate, r.fates[fate])
	}
	row("messages taken by hosts", r.copies)
	row("mails taken twice or more", r.doubles)
	for _, window := range []Window{HungUp, Unread, Unwritten} {
		row("  "+string(window), r.windows[window])
	}
	row("  marked as possible duplicates", r.marked)
	row("  not marked", r.unmarked)
	row("marked, taken once", r.overmarked)
	row("possible duplicates by the metric", r.metric)
	row("  of hosts that hung up on a dispatcher left alone", r.doubts)
	row("timelines without their acceptance", r.untimely)
	for _, name := range services() {
		g := r.gauges[name]
		row("used by "+name, fmt.Sprintf("%d goroutines, heap %d MB, rss %d MB; before %d, %d, %d",
			g[1].Goroutines, g[1].Heap>>20, g[1].RSS>>20, g[0].Goroutines, g[0].Heap>>20, g[0].RSS>>20))
	}
	row("storm", r.storm.Round(time.Second))
	row("drained after", r.drain.Round(time.Second))
	_ = w.Flush() // to memory
	return text.String()
}
