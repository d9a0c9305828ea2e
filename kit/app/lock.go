package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked says that another process has a directory open.
var ErrLocked = errors.New("is in use by another process: stop that one, or give this one a directory of its own")

// Lock makes the directory if it is missing, as [Directory] does, and locks it
// until the process ends or unlock is called, by a file LOCK in it. The error
// is a *[DirectoryError], or wraps [ErrLocked] and names the directory.
func Lock(dir string) (unlock func() error, err error) {
	if err := Directory(dir); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &DirectoryError{Dir: dir, Err: err}
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("directory %q %w", dir, ErrLocked)
	}
	// Closing the file alone would not unlock it while a child of this
	// process, between fork and exec, holds it open as well.
	return func() error {
		return errors.Join(syscall.Flock(int(lock.Fd()), syscall.LOCK_UN), lock.Close())
	}, nil
}
