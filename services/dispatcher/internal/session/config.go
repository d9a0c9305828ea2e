package session

import (
	"errors"
	"fmt"
	"time"
)

// Config is how sessions are held.
type Config struct {
	// EHLO is the name we greet with; empty takes the machine's.
	EHLO string `yaml:"ehlo"`
	// Port is where MX hosts listen.
	Port int `yaml:"port"`
	// AllowLoopback lets MX hosts live on loopback addresses; otherwise such
	// an MX is refused as a loop.
	AllowLoopback bool `yaml:"allow_loopback"`
	// AllowPrivate lets MX hosts live on private and link-local addresses.
	AllowPrivate bool `yaml:"allow_private"`
	// TLS is whether STARTTLS is used where it is offered.
	TLS bool `yaml:"tls"`
	// BrokenTLS is how long a host whose handshake failed is spoken to in the
	// clear.
	BrokenTLS time.Duration `yaml:"broken_tls"`
	// MailsPerConnection is after how many mails a session ends; 0 is no limit.
	MailsPerConnection int `yaml:"mails_per_connection"`
	// Idle is how long a session is kept between mails.
	Idle time.Duration `yaml:"idle"`
	// MaxIdle bounds the idle sessions of all sites together.
	MaxIdle int `yaml:"max_idle"`
	// Timeouts are those of ordinary mail, Urgent those of lanes that retry
	// inline.
	Timeouts Timeouts `yaml:"timeouts"`
	// Urgent are the timeouts of lanes that retry inline.
	Urgent Timeouts `yaml:"urgent"`
}

// Timeouts bound the steps of a session (RFC 5321 §4.5.3.2).
type Timeouts struct {
	// Connect is the time of a connection attempt.
	Connect time.Duration `yaml:"connect"`
	// Greeting is how long the first line may take.
	Greeting time.Duration `yaml:"greeting"`
	// Command is the time of EHLO, STARTTLS, AUTH, MAIL, RCPT and RSET.
	Command time.Duration `yaml:"command"`
	// Data is how long the reply to DATA may take.
	Data time.Duration `yaml:"data"`
	// Block is the time of writing the message.
	Block time.Duration `yaml:"block"`
	// Dot is how long the reply to the final dot may take. To give up early
	// here is to risk a second copy.
	Dot time.Duration `yaml:"dot"`
}

// Default keeps to RFC 5321 where a worker can afford it, and is short where
// somebody waits for a code.
func Default() Config {
	return Config{
		Port: 25, TLS: true, BrokenTLS: 30 * time.Minute, MailsPerConnection: 200, Idle: 5 * time.Second, MaxIdle: 500,
		Timeouts: Timeouts{
			Connect: 30 * time.Second, Greeting: 2 * time.Minute, Command: 2 * time.Minute,
			Data: 2 * time.Minute, Block: 3 * time.Minute, Dot: 10 * time.Minute,
		},
		Urgent: Timeouts{
			Connect: 5 * time.Second, Greeting: 10 * time.Second, Command: 10 * time.Second,
			Data: 15 * time.Second, Block: 15 * time.Second, Dot: time.Minute,
		},
	}
}

// Validate reports every fault, joined.
func (c Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(c.Port > 0 && c.Port < 65536, "smtp.port %d is no port", c.Port)
	check(c.Idle > 0, "smtp.idle %s is not above 0", c.Idle)
	check(c.MaxIdle >= 0, "smtp.max_idle %d is below 0", c.MaxIdle)
	check(c.MailsPerConnection >= 0, "smtp.mails_per_connection %d is below 0", c.MailsPerConnection)
	for name, t := range map[string]Timeouts{"timeouts": c.Timeouts, "urgent": c.Urgent} {
		check(t.Connect > 0 && t.Greeting > 0 && t.Command > 0 && t.Data > 0 && t.Block > 0 && t.Dot > 0,
			"smtp.%s: every time must be above 0", name)
	}
	return errors.Join(faults...)
}
