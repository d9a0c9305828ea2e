package group

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kurir.dev/kit/broker/embedded/internal/group/machine"
	"kurir.dev/kit/broker/embedded/internal/group/offsets"
)

// restore makes the cells of the groups that had members when the coordinator
// ended. All their sessions begin at once, now.
func (c *Coordinator) restore(now time.Time) error {
	for name, text := range c.offsets.Deals() {
		var s machine.Snapshot
		err := json.Unmarshal([]byte(text), &s)
		if err == nil {
			var m *machine.Group
			if m, err = machine.Restore(now, c.bounds(), c.highest.Load(), &s); err == nil {
				g := newCell(name, m)
				c.schedule(g)
				c.cells[name] = g
				c.log.Info("group goes on", slog.String("group", name),
					slog.Int("generation", int(s.Generation)), slog.Int("members", len(s.Members)))
				continue
			}
		}
		return fmt.Errorf("restoring members of group %q: %w", name, err)
	}
	return nil
}

// save has the journal keep a group's deal, and the group know that it does.
// The cell is locked, which keeps the deals of a group in order.
func (c *Coordinator) save(g *cell, s *machine.Snapshot) {
	var deal []byte // none for a group without members
	if len(s.Members) > 0 {
		var err error
		if deal, err = json.Marshal(s); err != nil {
			panic(err) // it is text, numbers and bytes
		}
	}
	batch := c.offsets.Deal(g.name, string(deal))
	c.work.Go(func() { // Close waits for it: it closes the cell first
		err := batch.Wait()
		if err != nil && !errors.Is(err, offsets.ErrClosed) {
			c.log.Warn("deal of a group could not be saved", slog.String("group", g.name),
				slog.Int("generation", int(s.Generation)), slog.Any("error", err))
		}
		c.visit(g.name, false, func(g *cell, now time.Time) []machine.Reply {
			return g.machine.Saved(now, s, err == nil)
		})
	})
}
