package load

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/emersion/go-smtp"
	"golang.org/x/sync/errgroup"

	"kurir.dev/bench/internal/sink"
)

// Connections is how many connections the bare loop keeps, as many as a site
// has by default.
const Connections = 20

// Bare pushes message to every recipient of a series with nothing but
// emersion/go-smtp's client: no queue, no disk, no promise. What it reaches is
// the machine's limit.
func Bare(ctx context.Context, addr string, series *sink.Series, message []byte) error {
	var next atomic.Int64
	all, ctx := errgroup.WithContext(ctx)
	for range Connections {
		all.Go(func() (err error) {
			c, err := smtp.Dial(addr)
			if err != nil {
				return fmt.Errorf("dialing the sink: %w", err)
			}
			defer func() { _ = c.Close() }()
			for {
				i := int(next.Add(1)) - 1
				if i >= series.Len() {
					return c.Quit()
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := push(c, series.Address(i, Domain), message); err != nil {
					return fmt.Errorf("pushing mail %d: %w", i, err)
				}
			}
		})
	}
	return all.Wait()
}

// push sends one mail on a connection that is open.
func push(c *smtp.Client, to string, message []byte) error {
	if err := c.Mail("bounce@bounce.kurir.example", nil); err != nil {
		return err
	}
	if err := c.Rcpt(to, nil); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(message); err != nil {
		return err
	}
	return w.Close()
}
