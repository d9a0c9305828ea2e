package sandbox

import (
	"errors"
	"fmt"
)

// Config is the sandbox inbox.
type Config struct {
	// SMTPListen is where it takes mail, on loopback; port 0 takes a free one.
	SMTPListen string `yaml:"smtp_listen"`
	// PageListen is where its page is served; empty serves none.
	PageListen string `yaml:"page_listen"`
	// Path is the SQLite file it keeps mail in; empty keeps it in memory.
	Path string `yaml:"path"`
	// Keep is how many mails it keeps, the newest.
	Keep int `yaml:"keep"`
}

// Default listens on the usual ports and keeps a thousand mails in memory.
func Default() Config {
	return Config{SMTPListen: "127.0.0.1:7451", PageListen: "127.0.0.1:7450", Keep: 1000}
}

// Validate reports every fault, joined.
func (c Config) Validate() error {
	var faults []error
	if c.SMTPListen == "" {
		faults = append(faults, errors.New("sandbox.smtp_listen: must be given"))
	}
	if c.Keep < 1 {
		faults = append(faults, fmt.Errorf("sandbox.keep %d is below 1", c.Keep))
	}
	return errors.Join(faults...)
}
