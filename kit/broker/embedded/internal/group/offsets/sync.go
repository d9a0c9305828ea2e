//go:build !linux

package offsets

import "os"

func datasync(f *os.File) error { return f.Sync() }
