// Command bench measures the mesh on this machine and prints what it found
// beside what is aimed at. docs/bench.md says what is measured and how.
//
//	bench                        everything, with the sizes the targets are set for
//	bench -only otp,floor        some scenarios
//	bench -json results.json     the figures for a program, too
//	bench -brokers host:9092     on a Kafka cluster instead of the embedded broker
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"kurir.dev/bench/internal/node"
	"kurir.dev/bench/internal/report"
	"kurir.dev/bench/internal/scenario"
	"kurir.dev/kit/app"
)

func main() { app.Main("bench", run) }

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == node.Command {
		return node.Serve(ctx, args[1], os.Stdin, os.Stdout)
	}
	runtime.GOMAXPROCS(app.Processors()) // generator and sink sync nothing: no more than there are
	lab := &scenario.Lab{Sizes: scenario.Default(), Out: os.Stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "scenarios to run, of "+strings.Join(names(), ", ")+"; all when empty")
	file := flags.String("json", "", "`file` to write the figures to")
	brokers := flags.String("brokers", "", "a Kafka cluster's addresses; the embedded broker when empty")
	flags.StringVar(&lab.Dir, "dir", "", "`directory` for the meshes' data; the system's for temporary files when empty")
	flags.StringVar(&lab.Profiles, "profiles", "", "`directory` for a CPU profile of each mesh, which costs some of it")
	flags.Uint64Var(&lab.Seed, "seed", 0, "of everything random; a new one when 0")
	sizes(flags, &lab.Sizes)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if err := lab.Sizes.Validate(); err != nil {
		return err
	}
	if *brokers != "" {
		lab.Brokers = strings.Split(*brokers, ",")
	}
	if lab.Seed == 0 {
		lab.Seed = rand.Uint64()
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	return measure(ctx, lab, chosen, *file, os.Stdout)
}

// sizes are the flags for how much is sent.
func sizes(flags *flag.FlagSet, s *scenario.Sizes) {
	flags.IntVar(&s.Mail, "mail", s.Mail, "`bytes` of a bulk mail, about")
	flags.IntVar(&s.Rounds, "rounds", s.Rounds, "rounds of what is compared")
	flags.IntVar(&s.Mails, "mails", s.Mails, "mails of a round of throughput; signed half of it")
	flags.IntVar(&s.Backlog, "backlog", s.Backlog, "bulk mails in front of OTPs and small tenants")
	flags.Float64Var(&s.Rate, "rate", s.Rate, "OTPs, or small tenants' mails, a second")
	flags.DurationVar(&s.Stretch, "stretch", s.Stretch, "of an idle round")
	flags.DurationVar(&s.Tarpit, "tarpit", s.Tarpit, "before each answer to RCPT")
	flags.IntVar(&s.Tenants, "tenants", s.Tenants, "small tenants")
	flags.IntVar(&s.Each, "each", s.Each, "mails of a small tenant")
	flags.IntVar(&s.Floor, "floor", s.Floor, "bulk mails in front of sustained OTPs")
	flags.IntVar(&s.Callers, "callers", s.Callers, "who send OTPs as fast as they can")
	flags.IntVar(&s.Slow, "slow", s.Slow, "mails for a site with a limit, in front of -fast")
	flags.Float64Var(&s.Limit, "limit", s.Limit, "mails a second that site is sent")
	flags.IntVar(&s.Fast, "fast", s.Fast, "mails for a site without one, behind -slow")
	flags.IntVar(&s.Few, "few", s.Few, "mails of the small backlog for memory")
	flags.IntVar(&s.Many, "many", s.Many, "mails of the large backlog for memory")
	flags.IntVar(&s.Queries, "queries", s.Queries, "queries of each kind")
	flags.DurationVar(&s.Patience, "patience", s.Patience, "for mails that do not come")
}

func names() (all []string) {
	for _, s := range scenario.All() {
		all = append(all, s.Name)
	}
	return all
}

// choose picks scenarios by name.
func choose(only string) (chosen []scenario.Scenario, err error) {
	all := scenario.All()
	if only == "" {
		return all, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(s scenario.Scenario) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: %q is none of %s", name, strings.Join(names(), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// measure runs scenarios and writes the report. What was measured before one
// failed is written too.
func measure(ctx context.Context, lab *scenario.Lab, chosen []scenario.Scenario, file string, out io.Writer) error {
	began := time.Now()
	r := &report.Report{
		Command: strings.Join(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...), " "), Machine: machine(),
		Broker: "embedded, in the mesh's process, fsync before each acknowledgement", Seed: lab.Seed, Began: began.Format(time.RFC3339),
	}
	if len(lab.Brokers) > 0 {
		r.Broker = "Kafka, outside the mesh's process and not in its figures"
	}
	var failed error
	for _, s := range chosen {
		fmt.Fprintf(lab.Out, "%s\n", s.Name)
		rows, err := s.Run(ctx, lab)
		r.Add(rows...)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.Name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	r.Took = time.Since(began).Round(time.Second).String()
	if err := r.Print(out); err != nil {
		return errors.Join(failed, err)
	}
	if file == "" {
		return failed
	}
	f, err := os.Create(file)
	if err != nil {
		return errors.Join(failed, fmt.Errorf("writing the figures: %w", err))
	}
	return errors.Join(failed, r.JSON(f), f.Close())
}

// machine describes where this runs.
func machine() string {
	model, memory := "unknown processor", ""
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb int64
		if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kb); err == nil {
			memory = fmt.Sprintf(", %d GB", kb>>20)
		}
	}
	return fmt.Sprintf("%s, %d processors%s, %s/%s, %s; mesh in one process, generator and sink in another, on the same processors",
		model, runtime.NumCPU(), memory, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
