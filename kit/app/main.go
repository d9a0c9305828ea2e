package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// Main runs a program's run function and ends the process with its result: 0 for
// nil and for a request of help, 1 for an error, which is printed to standard
// error. The context ends with the first SIGINT or SIGTERM; the second one ends
// the process at once, with status 130, for a run that does not stop.
//
// Unless GOGC is set in the environment, the garbage collector lets the heap grow
// to three times what lives before it collects, and less far the more lives, to
// half as much again at least; GOMEMLIMIT bounds it as always.
//
// Unless GOMAXPROCS is set, two goroutines more may run at a time than there are
// processors ([Processors]), for those that wait for a disk.
func Main(name string, run func(ctx context.Context, args []string) error) {
	if os.Getenv("GOGC") == "" {
		collect()
	}
	if os.Getenv("GOMAXPROCS") == "" {
		oversubscribe()
	}
	os.Exit(execute(name, run))
}

func execute(name string, run func(ctx context.Context, args []string) error) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	result := make(chan error, 1)
	go func() { result <- run(ctx, os.Args[1:]) }()
	for stopping := false; ; {
		select {
		case err := <-result:
			if err == nil || errors.Is(err, flag.ErrHelp) {
				return 0
			}
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			return 1
		case s := <-signals:
			if stopping {
				fmt.Fprintf(os.Stderr, "%s: %v again, not waiting any longer\n", name, s)
				return 130
			}
			stopping = true
			cancel()
		}
	}
}

// Version returns what the binary was built from: the version of its module, or
// the short commit, with "-dirty" if the tree had changes; "devel" if the build
// recorded neither.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	return version(info)
}

func version(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	settings := make(map[string]string, len(info.Settings))
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := settings["vcs.revision"]
	if commit == "" {
		return "devel"
	}
	commit = commit[:min(len(commit), 12)]
	if settings["vcs.modified"] == "true" {
		commit += "-dirty"
	}
	return commit
}
