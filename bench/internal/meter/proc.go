package meter

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc, whatever the kernel's own clock
// (proc(5), USER_HZ).
const tick = 10 * time.Millisecond

// Usage is what a process has used since it began.
type Usage struct {
	CPU     time.Duration // user and system, of all its threads
	PeakRSS int64         // bytes, the high-water mark of resident memory
}

// Process reads the usage of a running process from Linux's /proc.
func Process(pid int) (Usage, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Usage{}, fmt.Errorf("reading the use of processor time, which takes Linux: %w", err)
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return Usage{}, fmt.Errorf("reading the use of memory: %w", err)
	}
	var u Usage
	if u.CPU, err = ParseCPU(string(stat)); err != nil {
		return Usage{}, err
	}
	u.PeakRSS, err = ParsePeak(string(status))
	return u, err
}

// ParseCPU adds up the user and system time in the text of /proc/PID/stat. The
// program's name comes before them, in parentheses, and may hold anything.
func ParseCPU(stat string) (time.Duration, error) {
	const user, system = 11, 12 // fields after the name, from 0
	_, after, ok := cutLast(stat, ")")
	fields := strings.Fields(after)
	if !ok || len(fields) <= system {
		return 0, fmt.Errorf("stat has %d fields after the name: want more than %d", len(fields), system)
	}
	var sum time.Duration
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("field %d after the name: %w", i, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// ParsePeak finds the high-water mark of resident memory, in bytes, in the text
// of /proc/PID/status.
func ParsePeak(status string) (int64, error) {
	for line := range strings.Lines(status) {
		rest, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) != 2 || fields[1] != "kB" {
			return 0, fmt.Errorf("VmHWM is %q: want a number of kB", strings.TrimSpace(rest))
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("VmHWM: %w", err)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("no VmHWM among %d lines of status", strings.Count(status, "\n"))
}
