package app

import (
	"fmt"
	"os"
)

// DirectoryError says that a directory cannot be written to.
type DirectoryError struct {
	// Dir is the directory as configured.
	Dir string
	// Err is what the system said.
	Err error
}

// Error names the directory and what to do.
func (e *DirectoryError) Error() string {
	return fmt.Sprintf("directory %q is not writable: give this user write access or configure another directory: %v", e.Dir, e.Err)
}

// Unwrap gives the system's error.
func (e *DirectoryError) Unwrap() error { return e.Err }

// Directory makes the directory if it is missing, for its owner alone, and
// proves that files can be made in it, which a look at its mode does not. Its
// error is always a *[DirectoryError].
func Directory(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &DirectoryError{Dir: dir, Err: err}
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return &DirectoryError{Dir: dir, Err: err}
	}
	_ = probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return &DirectoryError{Dir: dir, Err: err}
	}
	return nil
}
