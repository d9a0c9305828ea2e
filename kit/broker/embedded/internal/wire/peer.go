//go:build !linux

package wire

import "net"

// inside says whether the client at the other end of nc is of this process;
// false where it is not known.
func inside(net.Conn) bool { return false }
