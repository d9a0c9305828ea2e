package site

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds what a site may have.
type Config struct {
	// Connections is the most sessions a site may have.
	Connections int `yaml:"connections"`
	// Initial is how many it begins with; each mail delivered allows one more
	// until Connections is reached, a connection that fails halves them.
	Initial int `yaml:"initial"`
	// Reserved of Connections are for the highest lane alone.
	Reserved int `yaml:"reserved"`
	// Queue is how many mails of one lane a slow site keeps here when the
	// lane's window is filling up; the others are sent to the waiting room
	// until their estimated turn, so that they hide no mail for faster sites.
	Queue int `yaml:"queue"`
	// Patience is from how long an estimated turn a site is slow.
	Patience time.Duration `yaml:"patience"`
	// Forget is how long a site without mail and sessions is remembered.
	Forget time.Duration `yaml:"forget"`
}

// Default is fit for a provider that is not known better.
func Default() Config {
	return Config{Connections: 20, Initial: 5, Reserved: 4, Queue: 200, Patience: 30 * time.Second, Forget: 10 * time.Minute}
}

// Validate reports every fault, joined.
func (c Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(c.Connections >= 1, "sites.connections %d is below 1", c.Connections)
	check(c.Initial >= 1 && c.Initial <= c.Connections, "sites.initial %d is not within 1 and connections", c.Initial)
	check(c.Reserved >= 0 && c.Reserved < c.Connections, "sites.reserved %d is not below connections", c.Reserved)
	check(c.Queue >= 1, "sites.queue %d is below 1", c.Queue)
	check(c.Patience > 0, "sites.patience %s is not above 0", c.Patience)
	check(c.Forget > 0, "sites.forget %s is not above 0", c.Forget)
	return errors.Join(faults...)
}
