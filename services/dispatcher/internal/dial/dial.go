// Package dial connects to the first of several addresses that answers, in
// the manner of RFC 8305 §5: the attempts start one after another, a short
// while apart or as soon as the one before failed, and the first connection
// wins. No SMTP byte is spoken before the race is decided, so a race can never
// make two mails of one.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Stagger is the time between two attempts (RFC 8305 §8).
const Stagger = 250 * time.Millisecond

// Target is one address to try.
type Target struct {
	// Host is the name the address belongs to.
	Host string
	// Network is "tcp" or "unix".
	Network string
	// Address is host:port or a path.
	Address string
}

// Dialer connects; *net.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Won is a connection and the target it leads to.
type Won struct {
	Conn   net.Conn
	Target Target
}

// Race connects to one of targets, each attempt bounded by timeout. When none
// answers the error joins those of all attempts. It returns after every
// attempt has ended.
func Race(ctx context.Context, d Dialer, targets []Target, stagger, timeout time.Duration) (Won, error) {
	if len(targets) == 0 {
		return Won{}, errors.New("no address to connect to")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		won Won
		err error
	}
	results := make(chan result, len(targets))
	started, ended := 0, 0
	start := func() {
		target := targets[started]
		started++
		go func() { // ends with its attempt, which Race waits for
			bounded, stop := context.WithTimeout(ctx, timeout)
			defer stop()
			conn, err := d.DialContext(bounded, target.Network, target.Address)
			if err != nil {
				err = fmt.Errorf("connecting to %s: %w", target.Host, err)
			}
			results <- result{Won{conn, target}, err}
		}()
	}
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	start()
	var winner Won
	var faults []error
	for ended < started {
		select {
		case r := <-results:
			ended++
			switch {
			case r.err != nil:
				faults = append(faults, r.err)
			case winner.Conn == nil:
				winner = r.won
				cancel()
			default:
				_ = r.won.Conn.Close()
			}
			if winner.Conn == nil && started == ended && started < len(targets) && ctx.Err() == nil {
				start()
				timer.Reset(stagger)
			}
		case <-timer.C:
			if winner.Conn == nil && started < len(targets) && ctx.Err() == nil {
				start()
				timer.Reset(stagger)
			}
		}
	}
	if winner.Conn != nil {
		return winner, nil
	}
	return Won{}, errors.Join(faults...)
}
