package seglog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
)

// Read appends whole batches to dst, the first of them the one that holds
// offset, up to most bytes. The first is appended even if it is larger when
// first is set. grow makes room in a buffer; nil is [slices.Grow]. At the end
// of the log there is nothing to append; beyond, or where the log was trimmed,
// it fails with *[RangeError].
func (l *Log) Read(
	ctx context.Context, dst []byte, offset int64, most int, first bool, grow func(b []byte, n int) []byte,
) ([]byte, error) {
	if grow == nil {
		grow = slices.Grow[[]byte]
	}
	v, err := l.find(ctx, offset)
	if v.seg == nil || err != nil {
		return dst, err
	}
	defer l.release(ctx, v.seg)
	if v.at, err = v.seek(offset); err != nil {
		return dst, err
	}
	mark := len(dst)
	dst, end, err := v.batches(dst, int64(most), first, grow)
	if err != nil {
		return dst[:mark], fmt.Errorf("reading log at offset %d: %w", offset, err)
	}
	l.remember(v.seg, end)
	return dst, nil
}

// view is a segment being read: what it held when the reader came.
type view struct {
	seg   *segment
	at    entry // a batch at or before what is looked for
	limit int64 // bytes
	last  int64 // latest timestamp in them
}

// find returns a view of the segment that holds an offset, to be released. No
// segment and no error is the end of the log.
func (l *Log) find(ctx context.Context, offset int64) (view, error) {
	l.mu.Lock()
	if offset < l.start || offset > l.end {
		defer l.mu.Unlock()
		return view{}, &RangeError{l.start, l.end}
	}
	if offset == l.end {
		l.mu.Unlock()
		return view{}, nil
	}
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].base > offset }) - 1
	seg := l.segs[i]
	seg.refs++
	if !seg.known {
		next := l.segs[i+1].base
		l.mu.Unlock()
		if err := l.learn(seg, next); err != nil {
			l.release(ctx, seg)
			return view{}, err
		}
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	v := view{seg: seg, at: seg.before(offset), limit: seg.size, last: seg.maxTime}
	for _, p := range l.places {
		if p.seg == seg && p.at.offset <= offset && p.at.offset > v.at.offset {
			v.at = p.at
		}
	}
	return v, nil
}

// learn fills in a segment that was not looked at since the start.
func (l *Log) learn(seg *segment, next int64) error {
	fresh, err := seg.load(next)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	seg.size, seg.end, seg.maxTime, seg.index, seg.known = fresh.size, fresh.end, fresh.maxTime, fresh.index, true
	return nil
}

// remember notes where a reader stopped.
func (l *Log) remember(seg *segment, at entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places[l.turn] = spot{seg, at}
	l.turn = (l.turn + 1) % len(l.places)
}

// release ends a view.
func (l *Log) release(ctx context.Context, seg *segment) {
	l.mu.Lock()
	seg.refs--
	last := seg.gone && seg.refs == 0
	l.mu.Unlock()
	if last {
		l.dispose(ctx, []*segment{seg})
	}
}

// seek is the place of the batch that holds an offset.
func (v view) seek(offset int64) (entry, error) {
	if v.at.offset == offset {
		return v.at, nil
	}
	at, err := walk(v.seg.file, v.at, v.limit, func(h header, _ int64) error {
		if h.end > offset {
			return errStop
		}
		return nil
	})
	return at, err
}

// batches appends those from v.at on and says where it stopped.
func (v view) batches(dst []byte, most int64, first bool, grow func([]byte, int) []byte) ([]byte, entry, error) {
	n := min(most, v.limit-v.at.pos)
	if n < headerSize {
		if !first {
			return dst, v.at, nil
		}
		n = headerSize
	}
	mark := len(dst)
	dst = grow(dst, int(n))[:mark+int(n)]
	if err := v.read(dst[mark:], v.at.pos); err != nil {
		return dst, v.at, err
	}
	at := v.at
	for end := mark; ; {
		rest := dst[end:]
		if len(rest) < headerSize {
			return dst[:end], at, nil
		}
		h, ok := parse(rest)
		if !ok || h.base != at.offset || at.pos+h.size > v.limit {
			return dst, at, fmt.Errorf("%w: byte %d of segment %d", ErrCorrupt, at.pos, v.seg.base)
		}
		if have := int64(len(rest)); h.size > have {
			if end > mark || !first {
				return dst[:end], at, nil
			}
			dst = grow(dst, int(h.size-have))[:mark+int(h.size)]
			if err := v.read(dst[mark+int(have):], at.pos+have); err != nil {
				return dst, at, err
			}
		}
		end += int(h.size)
		at = entry{h.end, at.pos + h.size}
	}
}

func (v view) read(b []byte, pos int64) error {
	n, err := v.seg.file.ReadAt(b, pos)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Since is the offset and the time, in milliseconds, of the first record not
// older than ms, or -1 and -1 when there is none. Where records are compressed
// it is the first of their batch.
func (l *Log) Since(ctx context.Context, ms int64) (offset, at int64, err error) {
	from, end := l.Bounds()
	for from < end {
		v, err := l.find(ctx, from)
		if gone := (*RangeError)(nil); errors.As(err, &gone) {
			from, end = gone.Start, gone.End // trimmed meanwhile
			continue
		}
		if v.seg == nil || err != nil {
			return -1, -1, err
		}
		found, err := v.since(from, ms)
		next := l.after(v.seg)
		l.release(ctx, v.seg)
		if err != nil || found.offset >= 0 {
			return found.offset, found.time, err
		}
		from = next
	}
	return -1, -1, nil
}

// after is the offset at which the segment behind this one begins.
func (l *Log) after(seg *segment) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return seg.end
}

// moment is a record's place in time.
type moment struct{ offset, time int64 }

// since looks for the record in one segment.
func (v view) since(from, ms int64) (moment, error) {
	found := moment{-1, -1}
	if v.last < ms {
		return found, nil
	}
	at, err := v.seek(from)
	if err != nil {
		return found, err
	}
	_, err = walk(v.seg.file, at, v.limit, func(h header, pos int64) error {
		if h.maxTime < ms {
			return nil
		}
		batch := make([]byte, h.size)
		if err := v.read(batch, pos); err != nil {
			return err
		}
		found = offsetSince(batch, h, ms)
		found.offset = max(found.offset, from)
		return errStop
	})
	return found, err
}
