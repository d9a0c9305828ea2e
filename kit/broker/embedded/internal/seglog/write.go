package seglog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// groupBytes and groupBatches bound one write and sync.
	groupBytes   = 4 << 20
	groupBatches = 512

	// leastAhead and mostAhead bound how much space is zeroed ahead at once:
	// as much as the segment holds, so that quiet partitions stay small.
	leastAhead = 64 << 10
	mostAhead  = 1 << 20
)

// Append is a batch on its way into the log.
type Append struct {
	// Batch is one that [Check] finds nothing wrong with. Its offset is set in
	// place; it is the log's until Done.
	Batch []byte
	// Done is told when the rest is filled in; add nothing to it, Append does.
	Done *sync.WaitGroup

	// Base is the offset of its first record.
	Base int64
	// Err is why it is not in the log, nil once it is on disk. It may be there
	// after a restart all the same.
	Err error
}

// Append queues a batch and returns at once; a.Done says when it is on disk.
func (l *Log) Append(a *Append) {
	a.Done.Add(1)
	l.mu.Lock()
	a.Err = l.failed
	if l.closed {
		a.Err = ErrClosed
	}
	if a.Err != nil {
		l.mu.Unlock()
		a.Done.Done()
		return
	}
	l.queue = append(l.queue, a)
	l.mu.Unlock()
	l.signal()
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// writer is what only the writing goroutine touches.
type writer struct {
	free  []*Append // a queue to swap in
	vec   [][]byte
	ready int64 // bytes of the last segment's file that were there before
	ahead *ahead
}

// ahead is space being prepared.
type ahead struct {
	from int64
	done chan struct{} // closed when it is, or is not going to be
	to   int64         // read after done
}

// write takes what queued up, again and again, until the log is closed.
func (l *Log) write(ctx context.Context) {
	for {
		l.mu.Lock()
		group := l.queue
		l.queue, l.writer.free = l.writer.free[:0], nil
		closed := l.closed
		l.mu.Unlock()
		if len(group) == 0 {
			l.writer.free = group
			if closed {
				return
			}
			<-l.wake
			continue
		}
		for rest := group; len(rest) > 0; {
			n, err := l.commit(ctx, rest)
			for _, a := range rest[:n] {
				a.Err = err
				a.Done.Done()
			}
			rest = rest[n:]
		}
		clear(group)
		l.writer.free = group[:0]
	}
}

// commit writes and syncs as many appends as one write takes, at least one,
// and says how many. They stand or fall together.
func (l *Log) commit(ctx context.Context, group []*Append) (int, error) {
	l.mu.Lock()
	seg, failed := l.last(), l.failed
	l.mu.Unlock()
	if failed != nil {
		return len(group), failed
	}
	if len(group[0].Batch) == 0 { // a request for a new segment
		if seg.size == 0 {
			return 1, nil
		}
		return 1, l.roll(ctx, seg)
	}
	if seg.size > 0 && seg.size+int64(len(group[0].Batch)) > l.cfg.SegmentBytes {
		if err := l.roll(ctx, seg); err != nil {
			return 1, err
		}
		l.mu.Lock()
		seg = l.last()
		l.mu.Unlock()
	}
	n, bytes := 0, int64(0)
	next := seg.end
	vec := l.writer.vec[:0]
	for _, a := range group {
		size := int64(len(a.Batch))
		full := n == groupBatches || bytes+size > groupBytes || seg.size+bytes+size > l.cfg.SegmentBytes
		if size == 0 || n > 0 && full {
			break
		}
		h, _ := parse(a.Batch)
		place(a.Batch, next)
		a.Base = next
		next += h.end - h.base
		bytes += size
		vec = append(vec, a.Batch)
		n++
	}
	err := l.put(ctx, seg, vec, bytes)
	clear(vec)
	l.writer.vec = vec
	if err != nil {
		return n, err
	}
	l.publish(seg, group[:n])
	return n, nil
}

// put writes a group at the end of the segment and syncs it.
func (l *Log) put(ctx context.Context, seg *segment, vec [][]byte, bytes int64) error {
	l.settle(seg.size + bytes)
	if err := writev(seg.file, vec, seg.size); err != nil {
		return fmt.Errorf("writing log: %w", err) // the next write goes over it
	}
	if !l.cfg.Sync {
		return nil
	}
	if err := l.cfg.Flush(seg.file); err != nil {
		err = fmt.Errorf("%w: %w", ErrOffline, err)
		l.cfg.Log.ErrorContext(ctx, "sync to disk failed, partition takes no more records",
			slog.Int64("offset", seg.end), slog.Any("error", err))
		l.mu.Lock()
		l.failed = err
		l.mu.Unlock()
		return err
	}
	l.prepare(seg, seg.size+bytes)
	return nil
}

// publish lets readers see what is on disk.
func (l *Log) publish(seg *segment, group []*Append) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range group {
		h, _ := parse(a.Batch)
		seg.add(h, seg.size)
	}
	l.end = seg.end
	l.tell()
}

// roll begins the next segment.
func (l *Log) roll(ctx context.Context, seg *segment) error {
	l.settle(l.cfg.SegmentBytes)
	if err := l.begin(ctx, seg.end); err != nil {
		return fmt.Errorf("beginning segment: %w", err)
	}
	return nil
}

// settle waits for space being prepared that a write up to end would meet.
func (l *Log) settle(end int64) {
	w := &l.writer
	if w.ahead == nil {
		return
	}
	if end <= w.ahead.from {
		select {
		case <-w.ahead.done:
		default:
			return
		}
	}
	<-w.ahead.done
	w.ready, w.ahead = max(w.ready, w.ahead.to), nil
}

// prepare has space zeroed and synced beyond pos when little is left.
func (l *Log) prepare(seg *segment, pos int64) {
	w := &l.writer
	w.ready = max(w.ready, pos)
	want := min(max(pos, leastAhead), mostAhead)
	if w.ahead != nil || w.ready-pos >= want/2 || w.ready >= l.cfg.SegmentBytes {
		return
	}
	a := &ahead{from: w.ready, done: make(chan struct{})}
	to := min(w.ready+want, l.cfg.SegmentBytes)
	w.ahead = a
	l.tasks.Go(func() {
		defer close(a.done)
		if l.zero(seg.file.Name(), a.from, to) == nil {
			a.to = to
		} // otherwise the writer meets the error where it counts
	})
}

// zero fills a stretch of a file and syncs it, by a file descriptor of its
// own: what the kernel has to say of failed writes it says once to each.
func (l *Log) zero(path string, from, to int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	page := make([]byte, min(leastAhead, to-from))
	for from < to && err == nil {
		_, err = f.WriteAt(page[:min(int64(len(page)), to-from)], from)
		from += int64(len(page))
	}
	if err == nil {
		err = l.cfg.Flush(f)
	}
	return errors.Join(err, f.Close())
}

// writev writes all of vec at pos, by one call as a rule.
func writev(f *os.File, vec [][]byte, pos int64) error {
	if len(vec) == 1 {
		_, err := f.WriteAt(vec[0], pos)
		return err
	}
	for len(vec) > 0 {
		n, err := unix.Pwritev(int(f.Fd()), vec, pos)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return &os.PathError{Op: "pwritev", Path: f.Name(), Err: err}
		}
		pos += int64(n)
		for len(vec) > 0 && n >= len(vec[0]) {
			n -= len(vec[0])
			vec = vec[1:]
		}
		if n > 0 {
			vec[0] = vec[0][n:]
		}
	}
	runtime.KeepAlive(f)
	return nil
}

// datasync is fdatasync: the data, and of the metadata what is needed to read
// it.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			runtime.KeepAlive(f)
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
