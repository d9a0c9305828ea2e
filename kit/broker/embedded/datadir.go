package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"kurir.dev/kit/app"
	"kurir.dev/kit/broker/embedded/internal/durable"
)

// dirVersion is the layout of the data directory that this code writes and
// reads.
const dirVersion = 2

const versionLead = "kurir-broker "

// Errors of data directories that cannot be opened.
var (
	// ErrLocked says that another process has the directory open.
	ErrLocked = app.ErrLocked
	// ErrNewer says that a newer version of the program wrote it.
	ErrNewer = errors.New("was written by a newer version: run that one, or give this one a directory of its own")
	// ErrFormat says that a version from before this layout wrote it.
	ErrFormat = errors.New("has data of another format: give the broker a directory of its own")
	// ErrForeign says that it is not a broker's.
	ErrForeign = errors.New("is not of the embedded broker: give it a directory of its own")
)

// dataDir is the open directory of an embedded broker:
//
//	LOCK      held by the process that has it open
//	VERSION   "kurir-broker 2"
//	data/     topics, see package catalog
//	groups/   what groups committed, see package group
type dataDir struct {
	path  string
	close func() error // unlocks it
}

// openDir makes or opens the directory and locks it.
func openDir(path string) (*dataDir, error) {
	unlock, err := app.Lock(path)
	if err != nil {
		return nil, err
	}
	d := &dataDir{path: path, close: unlock}
	if err := d.prepare(); err != nil {
		_ = d.close()
		return nil, fmt.Errorf("directory %q %w", path, err)
	}
	return d, nil
}

func (d *dataDir) data() string   { return filepath.Join(d.path, "data") }
func (d *dataDir) groups() string { return filepath.Join(d.path, "groups") }

// prepare checks the version, or marks a new directory with it.
func (d *dataDir) prepare() error {
	name := filepath.Join(d.path, "VERSION")
	raw, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(d.data()); err == nil {
			return ErrForeign
		}
		if err := durable.Write(name, []byte(versionLead+strconv.Itoa(dirVersion)+"\n")); err != nil {
			return fmt.Errorf("cannot be marked: %w", err)
		}
	case err != nil:
		return fmt.Errorf("cannot be read: %w", err)
	default:
		text, ok := strings.CutPrefix(strings.TrimSpace(string(raw)), versionLead)
		v, err := strconv.Atoi(text)
		if !ok || err != nil {
			return ErrForeign
		}
		switch {
		case v > dirVersion:
			return fmt.Errorf("%w (its layout is %d, this version knows %d)", ErrNewer, v, dirVersion)
		case v < dirVersion:
			return fmt.Errorf("%w (its layout is %d, this version knows %d)", ErrFormat, v, dirVersion)
		}
	}
	if err := os.MkdirAll(d.data(), 0o700); err != nil {
		return fmt.Errorf("cannot be written: %w", err)
	}
	return nil
}

// freeBytes asks the file system how much an ordinary user may still write.
func freeBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("asking for free space: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}
