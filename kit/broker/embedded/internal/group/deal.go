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
// ended. All their sessions begin at once, now. It returns the members, by group,
// that died with the process of the coordinator before.
func (c *Coordinator) restore(now time.Time) (dead map[string][]string, err error) {
	dead = make(map[string][]string)
	for name, text := range c.offsets.Deals() {
		var s machine.Snapshot
		err := json.Unmarshal([]byte(text), &s)
		if err == nil {
			var m *machine.Group
			if m, err = machine.Restore(now, c.bounds(), c.highest.Load(), &s); err == nil {
				g := newCell(name, m)
				c.schedule(g)
				c.cells[name] = g
				for _, m := range s.Members {
					if m.Process != "" && c.cfg.Process != "" && m.Process != c.cfg.Process {
						dead[name] = append(dead[name], m.ID)
					}
				}
				c.log.Info("group goes on", slog.String("group", name),
					slog.Int("generation", int(s.Generation)), slog.Int("members", len(s.Members)))
				continue
			}
		}
		return nil, fmt.Errorf("restoring members of group %q: %w", name, err)
	}
	return dead, nil
}

// bury has dead members leave, as they would have by themselves: the others deal
// anew, in a generation that fences what the dead had sent.
func (c *Coordinator) bury(dead map[string][]string) {
	for name, ids := range dead {
		for _, id := range ids {
			_ = c.leave(name, id) // restored a moment ago
		}
		c.log.Info("members died with the broker's process", slog.String("group", name), slog.Int("members", len(ids)))
	}
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
