// Command with runs a command beside an Apache Kafka of its own, and ends with its
// status: go run kurir.dev/kit/broker/brokertest/apache/with bench -brokers={}
//
// {} in the command's arguments stands for the addresses.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"kurir.dev/kit/broker/brokertest/apache"
)

func main() {
	nodes := flag.Int("nodes", 1, "how many nodes the cluster has")
	heap := flag.Int("heap", 512, "memory of each, in `megabytes`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, apache.Options{Nodes: *nodes, Heap: *heap}, flag.Args())
	stop()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "with:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o apache.Options, args []string) (err error) {
	if len(args) == 0 {
		return errors.New("no command to run")
	}
	starting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := apache.Start(starting, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "{}", strings.Join(c.Addrs(), ","))
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the caller's command is what this is for
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
