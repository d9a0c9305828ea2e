package db

import (
	"fmt"
	"os"
	"path/filepath"
)

// DirError is a directory that a store's file cannot live in.
type DirError struct {
	// Dir is the directory.
	Dir string
	// Err is what the system said.
	Err error
}

// Error names the directory and what to do.
func (e *DirError) Error() string {
	return fmt.Sprintf("data directory %s is not writable: give this user write access or configure another directory: %v", e.Dir, e.Err)
}

// Unwrap gives the system's error.
func (e *DirError) Unwrap() error { return e.Err }

// prepare makes the directory of path and proves that files can be made in it,
// which a look at its mode does not; then the file itself, for its owner's
// eyes. What SQLite puts beside it takes the file's mode.
func prepare(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &DirError{Dir: dir, Err: err}
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return &DirError{Dir: dir, Err: err}
	}
	_ = probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return &DirError{Dir: dir, Err: err}
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening store %s: %w", path, err)
	}
	return file.Close()
}
