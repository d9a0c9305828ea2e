package offsets

import (
	"io"
	"os"
	"path/filepath"
)

// disk is the directory the journal lives in, as far as the journal uses it.
type disk interface {
	// open opens a file to read and write; os.ErrNotExist when it is not there.
	open(name string) (file, error)
	// create makes an empty file in the place of one that may be there.
	create(name string) (file, error)
	rename(from, to string) error
	// sync makes renames durable.
	sync() error
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
}

// dir is a disk of the operating system.
type dir string

func (d dir) open(name string) (file, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d dir) create(name string) (file, error) {
	f, err := os.OpenFile(filepath.Join(string(d), name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d dir) rename(from, to string) error {
	return os.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d dir) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}

type osFile struct{ *os.File }

// Sync makes the file's content durable, its times aside.
func (f osFile) Sync() error { return datasync(f.File) }

// Size implements file.
func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
