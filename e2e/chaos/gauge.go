package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Gauge is what a process uses when nothing is to be done.
type Gauge struct {
	Goroutines int
	// Heap is what is reachable, RSS what the system has given, in bytes.
	Heap, RSS int64
}

// The processes may use so much more after the storm than before it. Buffers,
// connections and caches that traffic fills are warm at the baseline already;
// what is allowed beyond is for sizes that follow the history of a run.
const (
	moreGoroutines = 40
	moreHeap       = 24 << 20
	moreRSS        = 96 << 20
	ratio          = 1.5
)

// above says in which way g is not back at a baseline; empty when it is.
func (g Gauge) above(base Gauge) string {
	var over []string
	check := func(what string, now, was, more int64) {
		if bound := int64(ratio*float64(was)) + more; now > bound {
			over = append(over, fmt.Sprintf("%s %d, want at most %d (%d before the storm)", what, now, bound, was))
		}
	}
	check("goroutines", int64(g.Goroutines), int64(base.Goroutines), moreGoroutines)
	check("heap", g.Heap, base.Heap, moreHeap)
	check("rss", g.RSS, base.RSS, moreRSS)
	return strings.Join(over, "; ")
}

var (
	totalLine = regexp.MustCompile(`^goroutine profile: total (\d+)`)
	allocLine = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)`)
	rssLine   = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB`)
)

// gauge measures a process by its ops page, after a collection.
func gauge(ctx context.Context, ops string, pid int) (Gauge, error) {
	heap, err := page(ctx, "http://"+ops+"/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return Gauge{}, err
	}
	routines, err := page(ctx, "http://"+ops+"/debug/pprof/goroutine?debug=1")
	if err != nil {
		return Gauge{}, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Gauge{}, err
	}
	return Gauge{
		Goroutines: int(number(totalLine, routines)), Heap: number(allocLine, heap), RSS: number(rssLine, string(status)) << 10,
	}, nil
}

func number(line *regexp.Regexp, text string) int64 {
	m := line.FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	n, _ := strconv.ParseInt(m[1], 10, 64) // it is digits
	return n
}

func page(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, res.Status)
	}
	return string(text), err
}

var duplicates = regexp.MustCompile(`(?m)^kurir_dispatcher_possible_duplicates_total\{[^}]*\} (\S+)`)

// possible is what a dispatcher counted as possible duplicates since it
// started.
func possible(metrics string) int {
	n := 0.0
	for _, m := range duplicates.FindAllStringSubmatch(metrics, -1) {
		one, _ := strconv.ParseFloat(m[1], 64) // a count that does not parse is none
		n += one
	}
	return int(n)
}
