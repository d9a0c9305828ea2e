package wire

import (
	"net"
	"os"
	"syscall"
)

// inside says whether the client at the other end of nc is of this process. The
// kernel knows of unix sockets who connected (unix(7), SO_PEERCRED).
func inside(nc net.Conn) bool {
	unix, ok := nc.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return false
	}
	own := false
	err = raw.Control(func(fd uintptr) {
		peer, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		own = err == nil && int(peer.Pid) == os.Getpid()
	})
	return err == nil && own
}
