//go:build unix

package apache

import (
	"fmt"
	"syscall"
)

// Pause stops a node's process where it stands, as SIGSTOP does: its
// connections stay, and nobody answers.
func (c *Cluster) Pause(id int) error { return c.nodes[id-1].signal(syscall.SIGSTOP) }

// Resume lets a paused node go on.
func (c *Cluster) Resume(id int) error { return c.nodes[id-1].signal(syscall.SIGCONT) }

func (n *node) signal(s syscall.Signal) error {
	cmd, _ := n.life()
	if cmd == nil {
		return fmt.Errorf("node %d does not run", n.id)
	}
	return cmd.Process.Signal(s)
}
