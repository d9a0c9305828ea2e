package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ListenError says that an address cannot be listened on.
type ListenError struct {
	// Addr is the address as configured.
	Addr string
	// Hint says what the operator can do: "choose another with -listen".
	Hint string
	// Err is the cause, syscall.EADDRINUSE for instance.
	Err error
}

// Error returns the address, the cause and what to do about it.
func (e *ListenError) Error() string {
	if e.Hint == "" {
		return fmt.Sprintf("listen %s: %v", e.Addr, e.Err)
	}
	return fmt.Sprintf("listen %s: %v: %s", e.Addr, e.Err, e.Hint)
}

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// Listen announces on the TCP address addr. Its error is always a *ListenError;
// the hint is added where another address would help.
func Listen(ctx context.Context, addr, hint string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err == nil {
		return l, nil
	}
	e := &ListenError{Addr: addr, Hint: hint, Err: err}
	// The system's own word says it best; net adds only the address once more.
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		e.Err = errno
	}
	return nil, e
}
