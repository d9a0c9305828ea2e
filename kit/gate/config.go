package gate

import (
	"errors"
	"fmt"
	"time"
)

// Config says how many steps run at a time and how long an urgent mail is felt.
type Config struct {
	// Places is how many steps may run at a time; 0 means as many as there are
	// processors. One of several is for the first-ranked lane alone while it has
	// mail.
	Places int `yaml:"places"`
	// Linger is how long after the last urgent mail the lower lanes still
	// stand back, for it may be on its way from one service to the next; 0
	// means 4 ms.
	Linger time.Duration `yaml:"linger"`
	// BigFloorPercent of the processors are kept for the big tenants of a lane
	// together, while they stand back for mail of small ones; 0 means 5, with
	// 100 they do not stand back. A tenant is big that used more than a
	// twentieth of a processor for its mail of a lane lately.
	BigFloorPercent int `yaml:"big_floor_percent"`
}

// Validate reports every fault, joined.
func (c Config) Validate() error {
	var faults []error
	if c.Places < 0 {
		faults = append(faults, fmt.Errorf("places: %d is below 0", c.Places))
	}
	if c.Linger < 0 || c.Linger > time.Second {
		faults = append(faults, fmt.Errorf("linger: %s is not within 0 and 1s", c.Linger))
	}
	if c.BigFloorPercent < 0 || c.BigFloorPercent > 100 {
		faults = append(faults, fmt.Errorf("big_floor_percent: %d is not within 0 and 100", c.BigFloorPercent))
	}
	return errors.Join(faults...)
}
