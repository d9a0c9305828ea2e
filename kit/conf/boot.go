package conf

import (
	"fmt"
	"io"
	"os"
)

// Program is who a daemon is.
type Program struct {
	// Name is the program's: "routerd".
	Name string
	// Version is what -version prints beside it.
	Version string
	// Env begins its environment variables: "KURIR_ROUTER".
	Env string
}

// Boot does what every daemon does before its work: it parses args, loads the
// configuration into cfg, which holds the defaults, sets the gRPC address that
// listen points to from -listen, and answers -version, -print and -check on
// out. work is false when that was all, or err says what is wrong.
func Boot(out io.Writer, p Program, args []string, cfg any, listen *string) (work bool, err error) {
	opts, err := Flags(p.Name, args)
	if err != nil {
		return false, err
	}
	if opts.Version {
		_, err := fmt.Fprintln(out, p.Name, p.Version)
		return false, err
	}
	if err := Load(opts.Config, os.Environ(), p.Env, cfg); err != nil {
		return false, err
	}
	if opts.Listen != "" {
		*listen = opts.Listen
	}
	switch {
	case opts.Print:
		return false, Print(out, cfg)
	case opts.Check:
		_, err := fmt.Fprintln(out, "the configuration is good")
		return false, err
	}
	return true, nil
}
