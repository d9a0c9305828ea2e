package seglog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// indexEvery is how many bytes of log one index entry stands for.
	indexEvery = 32 << 10
	// window is how much is read at once when headers are walked.
	window = 4 << 10
)

// entry of a sparse index: a batch that begins at pos.
type entry struct {
	offset int64
	pos    int64
}

// segment is one file of a log. Its fields change under the log's lock, but
// for those of the last segment that belong to the writer.
type segment struct {
	base int64
	file *os.File

	// Of the last segment: what is synced. Of an earlier one: what it holds,
	// once known.
	size    int64
	end     int64 // offset after the last record
	known   bool  // size and index are filled in
	maxTime int64
	index   []entry

	refs int  // readers at it
	gone bool // trimmed away: the last reader disposes of it
}

const suffix = ".log"

// name of the file of a segment.
func name(dir string, base int64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, suffix))
}

// bases lists the segments of a directory, ascending.
func bases(dir string) ([]int64, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []int64
	for _, e := range list {
		text, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		base, err := strconv.ParseInt(text, 10, 64)
		if err != nil || base < 0 {
			return nil, fmt.Errorf("segment file %q has no offset for a name", e.Name())
		}
		found = append(found, base)
	}
	slices.Sort(found)
	return found, nil
}

// add notes a batch that lies at pos.
func (s *segment) add(h header, pos int64) {
	if n := len(s.index); n == 0 || pos-s.index[n-1].pos >= indexEvery {
		s.index = append(s.index, entry{h.base, pos})
	}
	s.size, s.end, s.maxTime = pos+h.size, h.end, max(s.maxTime, h.maxTime)
}

// before is the last indexed place at or before an offset.
func (s *segment) before(offset int64) entry {
	i, found := slices.BinarySearchFunc(s.index, offset, func(e entry, o int64) int { return int(min(max(e.offset-o, -1), 1)) })
	switch {
	case found:
		return s.index[i]
	case i > 0:
		return s.index[i-1]
	}
	return entry{s.base, 0}
}

// errStop ends a walk early.
var errStop = errors.New("stop")

// walk calls visit for each batch from pos on, as long as one begins where the
// one before ended, until limit or a visit's error, and returns where it
// stopped.
func walk(f io.ReaderAt, from entry, limit int64, visit func(h header, pos int64) error) (entry, error) {
	buf := make([]byte, window)
	var held []byte // of buf, at from.pos
	for from.pos+headerSize <= limit {
		if len(held) < headerSize {
			n, err := f.ReadAt(buf, from.pos)
			if n < headerSize {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				return from, err
			}
			held = buf[:n]
		}
		h, ok := parse(held)
		if !ok || h.base != from.offset || from.pos+h.size > limit {
			return from, nil
		}
		if err := visit(h, from.pos); err != nil {
			if errors.Is(err, errStop) {
				err = nil
			}
			return from, err
		}
		from = entry{h.end, from.pos + h.size}
		held = held[min(h.size, int64(len(held))):]
	}
	return from, nil
}

// load fills in what is known of a segment that is not the last: its batches
// lead up to the next segment's first offset. Anything else is [ErrCorrupt].
func (s *segment) load(next int64) (segment, error) {
	info, err := s.file.Stat()
	if err != nil {
		return segment{}, err
	}
	fresh := segment{base: s.base, end: s.base}
	at, err := walk(s.file, entry{s.base, 0}, info.Size(), func(h header, pos int64) error {
		fresh.add(h, pos)
		return nil
	})
	if err != nil {
		return segment{}, err
	}
	if at.offset != next {
		return segment{}, fmt.Errorf("%w: after offset %d, byte %d of segment %d", ErrCorrupt, at.offset, at.pos, s.base)
	}
	return fresh, nil
}

// recover finds the end of the last segment, checking every batch, and cuts
// what follows. torn says that it cut more than space prepared or used before.
func (s *segment) recover(most int64) (torn bool, err error) {
	info, err := s.file.Stat()
	if err != nil {
		return false, err
	}
	var batch []byte
	at, err := walk(s.file, entry{s.base, 0}, info.Size(), func(h header, pos int64) error {
		if h.size > most {
			return errStop
		}
		batch = slices.Grow(batch[:0], int(h.size))[:h.size]
		if _, err := s.file.ReadAt(batch, pos); err != nil {
			return err
		}
		if !sound(batch) {
			return errStop
		}
		s.add(h, pos)
		return nil
	})
	if err != nil {
		return false, err
	}
	s.size, s.end, s.known = at.pos, at.offset, true
	if at.pos == info.Size() {
		return false, nil
	}
	head := make([]byte, headerSize)
	n, err := s.file.ReadAt(head, at.pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if h, ok := parse(head[:n]); ok {
		torn = h.base >= at.offset
	} else {
		torn = slices.ContainsFunc(head[:n], func(b byte) bool { return b != 0 })
	}
	return torn, errors.Join(s.file.Truncate(at.pos), s.file.Sync())
}
