// Package durable writes small files that are there whole or not at all,
// whatever ends the process or the machine.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Write replaces a file by way of a second one beside it, named as it with
// ".tmp" behind. What a crash leaves of that means nothing and is written over;
// an error leaves none of it, and the file as it was, but for one of the last
// step: then it may be either.
func Write(name string, content []byte) error {
	if err := write(name+".tmp", content); err != nil {
		_ = os.Remove(name + ".tmp") // the next one goes over it
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return errors.Join(err, os.Remove(name+".tmp"))
	}
	return SyncDir(filepath.Dir(name))
}

// write writes a file and syncs it.
func write(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// SyncDir makes the names in a directory last.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
