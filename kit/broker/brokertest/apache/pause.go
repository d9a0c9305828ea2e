//go:build unix

package apache

import (
	"fmt"
	"syscall"
)

// Pause stops a node's process where it stands, as SIGSTOP does: its
// connections stay, and nobody answers.
func (c *Cluster) Pause(id int) error { return c.Signal(id, syscall.SIGSTOP) }

// Resume lets a paused node go on.
func (c *Cluster) Resume(id int) error { return c.Signal(id, syscall.SIGCONT) }

// Signal sends a node's process a signal.
func (c *Cluster) Signal(id int, s syscall.Signal) error {
	cmd, _ := c.nodes[id-1].life()
	if cmd == nil {
		return fmt.Errorf("node %d does not run", id)
	}
	return cmd.Process.Signal(s)
}
