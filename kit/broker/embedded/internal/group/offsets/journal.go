package offsets

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// The files of the journal: itself, and its next version while that is
// written.
const (
	journalName = "offsets.log"
	nextName    = "offsets.next"
)

// slack is how far beyond four times its content the file may grow before it
// is written anew.
const slack = 4 << 20

// journal is the file. It is not safe for concurrent use.
type journal struct {
	disk  disk
	sync  bool
	file  file
	size  int64 // of the good frames
	limit int64 // the size at which it is written anew
	// broken says that the file may not hold what size promises: it is written
	// anew before anything is appended.
	broken bool
}

// openJournal loads the journal into st, or begins an empty one. It returns
// how many damaged bytes it cut off the end.
func openJournal(d disk, sync bool, st *state) (j *journal, cut int64, err error) {
	j = &journal{disk: d, sync: sync}
	f, err := d.open(journalName)
	if errors.Is(err, os.ErrNotExist) {
		err = j.rewrite(st)
		return j, 0, err
	}
	if err != nil {
		return nil, 0, err
	}
	j.file = f
	whole, err := f.Size()
	if err == nil {
		j.size, err = load(io.NewSectionReader(f, 0, whole), st)
	}
	if err == nil && whole > j.size {
		cut = whole - j.size
		err = f.Truncate(j.size)
	}
	// What the last run wrote or renamed and did not live to sync is built upon
	// from here.
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	j.limit = j.size + slack
	return j, cut, nil
}

// load applies all frames up to the first damaged one, and returns the size of
// what it understood. A file that is not a journal of this version is an error.
func load(r io.Reader, st *state) (int64, error) {
	br := bufio.NewReaderSize(r, 1<<16)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(br, head); err != nil || string(head) != magic {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
		return 0, fmt.Errorf("%s is no journal of offsets of this version", journalName)
	}
	size := int64(len(magic))
	header := make([]byte, headerLen)
	var payload []byte
	for {
		n, rec, err := readFrame(br, header, &payload)
		switch {
		case errors.Is(err, errFrame), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return size, nil
		case err != nil:
			return size, err
		}
		st.apply(rec)
		size += n
	}
}

// readFrame reads a frame into header and buf, which it makes longer when it
// has to.
func readFrame(r io.Reader, header []byte, buf *[]byte) (int64, record, error) {
	if _, err := io.ReadFull(r, header); err != nil {
		return 0, record{}, err
	}
	n, err := payloadLen(header)
	if err != nil {
		return 0, record{}, err
	}
	*buf = slices.Grow((*buf)[:0], n)[:n]
	if _, err := io.ReadFull(r, *buf); err != nil {
		return 0, record{}, err
	}
	rec, err := parseFrame(header, *buf)
	return int64(headerLen + n), rec, err
}

// append writes the frames behind the others and syncs. When it fails none of
// them counts.
func (j *journal) append(frames []byte) error {
	if _, err := j.file.WriteAt(frames, j.size); err != nil {
		if j.file.Truncate(j.size) != nil {
			j.broken = true
		}
		return fmt.Errorf("appending offsets: %w", err)
	}
	if j.sync {
		if err := j.file.Sync(); err != nil {
			j.broken = true // nobody knows what the disk holds now
			return fmt.Errorf("syncing offsets: %w", err)
		}
	}
	j.size += int64(len(frames))
	return nil
}

// rewrite replaces the file by one that holds st and nothing else. The old
// file stays what it is until the new one is whole and durable.
func (j *journal) rewrite(st *state) error {
	f, err := j.disk.create(nextName)
	if err != nil {
		return fmt.Errorf("rewriting offsets: %w", err)
	}
	w := &counter{w: io.NewOffsetWriter(f, 0)}
	bw := bufio.NewWriterSize(w, 1<<16)
	_, _ = bw.WriteString(magic) // bw keeps its first error
	var frame []byte
	for r := range st.records {
		frame = appendFrame(frame[:0], r)
		_, _ = bw.Write(frame)
	}
	err = bw.Flush()
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.disk.rename(nextName, journalName)
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("rewriting offsets: %w", err)
	}
	if j.file != nil {
		_ = j.file.Close()
	}
	j.file, j.size, j.limit = f, w.n, 4*w.n+slack
	j.broken = true // until the name is as durable as the content
	if err := j.disk.sync(); err != nil {
		return fmt.Errorf("rewriting offsets: %w", err)
	}
	j.broken = false
	return nil
}

// counter counts what was written.
type counter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
