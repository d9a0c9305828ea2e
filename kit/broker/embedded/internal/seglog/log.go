package seglog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"kurir.dev/kit/broker/embedded/internal/durable"
)

// Errors of a log.
var (
	// ErrClosed says that the log is closed.
	ErrClosed = errors.New("log is closed")
	// ErrOffline says that a sync failed and the log takes nothing until it
	// is opened again.
	ErrOffline = errors.New("log is offline: a sync to disk failed")
)

// RangeError says that an offset is not in the log.
type RangeError struct {
	// Start and End are the offsets that are: from Start to below End.
	Start, End int64
}

// Error implements error.
func (e *RangeError) Error() string {
	return fmt.Sprintf("offset is not in the log, which holds %d to %d", e.Start, e.End)
}

// Config of a log. Dir, SegmentBytes and MaxBatch are needed.
type Config struct {
	// Dir is where its segments lie; made if missing.
	Dir string
	// SegmentBytes is when the next segment is begun.
	SegmentBytes int64
	// MaxBatch is the largest batch there can be, in bytes.
	MaxBatch int64
	// Sync makes every append wait until it is on disk.
	Sync bool
	// Start is the least offset that still counts; a log that was trimmed
	// begins there.
	Start int64
	// Log is told what goes wrong.
	Log *slog.Logger
	// Flush syncs a file's data to disk; nil is fdatasync.
	Flush func(f *os.File) error
}

// Log is one partition. Safe for concurrent use; whoever opened it closes it.
type Log struct {
	cfg   Config
	tasks sync.WaitGroup
	wake  chan struct{} // the writer has something to do

	mu       sync.Mutex
	segs     []*segment // ascending; the last is written to
	start    int64
	end      int64
	queue    []*Append
	closed   bool
	failed   error // of the sync that ended writing
	places   [4]spot
	turn     int // of places, overwritten next
	watchers map[chan<- struct{}]struct{}
	spare    bool // a segment that was trimmed lies ready
	sparing  bool // one is being made so

	writer writer // of the writing goroutine alone
}

// spot remembers where a reader stopped, for where it will go on.
type spot struct {
	seg *segment
	at  entry
}

// Open opens or makes a log. ctx bounds nothing, it goes with what is logged.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	ctx = context.WithoutCancel(ctx)
	if cfg.Flush == nil {
		cfg.Flush = datasync
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{cfg: cfg, wake: make(chan struct{}, 1), watchers: make(map[chan<- struct{}]struct{})}
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening log %q: %w", cfg.Dir, err), l.closeFiles())
	}
	l.tasks.Go(func() { l.write(ctx) })
	return l, nil
}

func (l *Log) open(ctx context.Context) error {
	if err := os.Remove(l.spareName()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	found, err := bases(l.cfg.Dir)
	if err != nil {
		return err
	}
	for _, base := range found {
		f, err := os.OpenFile(name(l.cfg.Dir, base), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		l.segs = append(l.segs, &segment{base: base, end: base, file: f})
	}
	if len(l.segs) > 0 {
		last := l.segs[len(l.segs)-1]
		torn, err := last.recover(l.cfg.MaxBatch)
		if err != nil {
			return err
		}
		if torn {
			l.cfg.Log.WarnContext(ctx, "log ended in the middle of a write, which was cut",
				slog.Int64("offset", last.end), slog.Int64("segment", last.base))
		}
		l.end = last.end
		l.start = max(l.cfg.Start, l.segs[0].base)
	}
	if len(l.segs) == 0 || l.cfg.Start > l.end {
		// New, or the end was lost: offsets that were used are not used again.
		l.start, l.end = l.cfg.Start, l.cfg.Start
		if err := l.begin(ctx, l.end); err != nil {
			return err
		}
	}
	l.dispose(ctx, l.drop())
	if !l.cfg.Sync {
		return nil
	}
	return durable.SyncDir(filepath.Dir(l.cfg.Dir))
}

// last is the segment that is written to; l.mu is held.
func (l *Log) last() *segment { return l.segs[len(l.segs)-1] }

// Bounds are the offset of the first record and the one after the last that
// is on disk.
func (l *Log) Bounds() (start, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start, l.end
}

// Err is why the log takes nothing, nil while it does.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Watch has ch told, if it has room, whenever there is more to read, until
// [Log.Unwatch].
func (l *Log) Watch(ch chan<- struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers[ch] = struct{}{}
}

// Unwatch ends [Log.Watch].
func (l *Log) Unwatch(ch chan<- struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watchers, ch)
}

// tell wakes the watchers; l.mu is held.
func (l *Log) tell() {
	for ch := range l.watchers {
		select {
		case ch <- struct{}{}:
		default: // it has been told already
		}
	}
}

// Trim gives up the records below an offset, at most those there are. Disk is
// freed by whole segments; a log of which nothing is left begins a new one.
// The new start is remembered by whoever calls, before, see [Config.Start].
func (l *Log) Trim(ctx context.Context, to int64) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.start = max(l.start, min(to, l.end))
	gone := l.drop()
	roll := l.start == l.end && l.last().size >= l.cfg.SegmentBytes/16
	l.mu.Unlock()
	l.dispose(ctx, gone)
	if !roll {
		return nil
	}
	var wait sync.WaitGroup
	a := &Append{Done: &wait}
	l.Append(a)
	wait.Wait()
	return a.Err
}

// drop takes the segments of which nothing is left out of the log and returns
// those that nobody is reading; l.mu is held, or nobody else has the log yet.
func (l *Log) drop() []*segment {
	n := 0
	for n+1 < len(l.segs) && l.segs[n+1].base <= l.start {
		n++
	}
	if n == 0 {
		return nil
	}
	var idle []*segment
	for _, s := range l.segs[:n] {
		s.gone = true
		if s.refs == 0 {
			idle = append(idle, s)
		}
	}
	l.segs = slices.Delete(l.segs, 0, n)
	l.places = [4]spot{}
	return idle
}

// dispose keeps one file of those segments to be written again, for its space
// is ready to use, and deletes the others.
func (l *Log) dispose(ctx context.Context, gone []*segment) {
	for _, s := range gone {
		l.mu.Lock()
		keep := l.cfg.Sync && !l.spare && !l.sparing && !l.closed
		l.sparing = l.sparing || keep
		l.mu.Unlock()
		err := s.file.Close()
		if keep {
			err = errors.Join(err, os.Rename(s.file.Name(), l.spareName()))
			l.mu.Lock()
			l.spare, l.sparing = err == nil, false
			l.mu.Unlock()
		} else {
			err = errors.Join(err, os.Remove(s.file.Name()))
		}
		if err != nil {
			l.cfg.Log.WarnContext(ctx, "trimmed segment is still there",
				slog.Int64("segment", s.base), slog.Any("error", err))
		}
	}
}

func (l *Log) spareName() string { return filepath.Join(l.cfg.Dir, "spare") }

// begin makes the segment that is written to from now on and makes its name
// last. Only the writer calls it, or whoever opens the log.
func (l *Log) begin(ctx context.Context, base int64) error {
	path := name(l.cfg.Dir, base)
	l.mu.Lock()
	spare := l.spare
	l.spare = false
	l.mu.Unlock()
	if spare {
		if err := os.Rename(l.spareName(), path); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && l.cfg.Sync {
		err = durable.SyncDir(l.cfg.Dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.writer.ready = info.Size()
	l.mu.Lock()
	l.segs = append(l.segs, &segment{base: base, end: base, file: f, known: true})
	gone := l.drop()
	l.mu.Unlock()
	l.dispose(ctx, gone)
	return nil
}

// Close writes what is queued, waits for it and closes the files; whatever
// comes later fails.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	l.signal()
	l.tasks.Wait()
	last := l.last()
	var err error
	if l.failed == nil {
		err = errors.Join(last.file.Truncate(last.size), last.file.Sync())
	}
	if l.spare {
		err = errors.Join(err, os.Remove(l.spareName()))
	}
	return errors.Join(err, l.closeFiles())
}

func (l *Log) closeFiles() error {
	var err error
	for _, s := range l.segs {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
