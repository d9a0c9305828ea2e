package conf

import (
	"errors"
	"flag"
	"fmt"
	"strings"
)

// Options are the flags that every daemon of the project takes.
type Options struct {
	// Config is the path of the YAML file; "" reads none.
	Config string
	// Listen overrides the configured gRPC address; "" does not.
	Listen string
	// Check asks to load and validate the configuration and then end.
	Check bool
	// Print asks to print the effective configuration, redacted, and then end.
	Print bool
	// Version asks to print the version and then end.
	Version bool
}

// Flags parses the arguments of the named daemon, without the program's own name.
// Its error holds the usage text; it is flag.ErrHelp, already printed to standard
// error, if help was asked for.
func Flags(name string, args []string) (Options, error) {
	var (
		o     Options
		usage strings.Builder
	)
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.StringVar(&o.Config, "config", "", "read the configuration from this YAML `file`")
	fs.StringVar(&o.Listen, "listen", "", "serve gRPC at this `address` instead of the configured one")
	fs.BoolVar(&o.Check, "check", false, "check the configuration and exit")
	fs.BoolVar(&o.Print, "print", false, "print the effective configuration, secrets hidden, and exit")
	fs.BoolVar(&o.Version, "version", false, "print the version and exit")
	fs.SetOutput(&usage)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, werr := fmt.Fprint(flag.CommandLine.Output(), usage.String())
			return o, errors.Join(err, werr)
		}
		return o, errors.New(strings.TrimRight(usage.String(), "\n"))
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: %s takes flags only", fs.Arg(0), name)
	}
	return o, nil
}
