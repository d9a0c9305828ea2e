// Package mark knows what of a partition is done, in memory and in the
// metadata of an offset commit. It is pure: no clock, no network, no locks.
//
// Records complete in any order. A [Mark] says which: everything below Low,
// and the spans above it. It is committed as the offset Low with the rest as
// metadata, so that the next owner of the partition gets again exactly what
// was not done.
//
//	offset    0 1 2 3 4 5 6 7 8 9
//	          # # # . # # . # . .       # done, . not
//	                Low=3  Done=[4,6)[7,8)
//
// Three more numbers stand in the metadata. Journal is where in the journal
// topic the next owner must begin to read to meet everything that was ever
// written about a record that is not done. Limit is the promise that no
// record at or above it was handed out by anyone: of those the journal cannot
// know. Tried is the same promise for what cannot be taken back: no record at or
// above it was tried by anyone, so that after a crash only those below it are in
// doubt. Both are reserved ahead, some hundreds of records with each commit.
//
// The text is "k2" and then, each ended by ";", Journal+1, Limit-Low, Tried-Low,
// and for each span "gap,len" counted from the end of the one before; numbers in
// base 36. "k1" was the same without Tried, and is read as if all below Limit
// had been tried.
package mark

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxBytes is the longest metadata made here; Kafka's own default limit is
// 4096.
const MaxBytes = 4000

const (
	version = "k2"
	former  = "k1"
	base    = 36
)

// ErrMetadata is the error of metadata that is not of this package's making.
var ErrMetadata = errors.New("commit metadata does not parse")

// Span is a run of offsets, End excluded.
type Span struct{ Start, End int64 }

// Mark is a state of a partition. The zero value is a partition that nobody
// touched, from its first offset, without a journal read.
type Mark struct {
	// Low is the lowest offset that is not done: the committed offset.
	Low int64
	// Done are the spans done above Low, ascending, apart from one another
	// and from Low.
	Done []Span
	// Journal is the journal offset to read back from; negative for none.
	Journal int64
	// Limit is the offset from which on nothing was handed out; never below
	// Low.
	Limit int64
	// Tried is the offset from which on nothing was tried, within Low and
	// Limit.
	Tried int64
}

// Count is how many records are done above Low.
func (m Mark) Count() int64 {
	var n int64
	for _, s := range m.Done {
		n += s.End - s.Start
	}
	return n
}

// Has tells whether the record at offset is done.
func (m Mark) Has(offset int64) bool {
	_, in := find(m.Done, offset)
	return in || offset < m.Low
}

// Encode makes the commit metadata. Spans that do not fit into [MaxBytes] are
// left out, the highest first: their records come again, which the journal
// settles. A [Tracker] that is asked whether it is Full never comes to that.
func (m Mark) Encode() string {
	b := m.text()
	for len(b) > MaxBytes {
		b = b[:bytes.LastIndexByte(b[:len(b)-1], ';')+1]
	}
	return string(b)
}

func (m Mark) text() []byte {
	b := make([]byte, 0, 64)
	b = append(b, version...)
	b = number(b, max(m.Journal, -1)+1, ';')
	b = number(b, max(m.Limit-m.Low, 0), ';')
	b = number(b, max(min(m.Tried, m.Limit)-m.Low, 0), ';')
	at := m.Low
	for _, s := range m.Done {
		b = number(b, s.Start-at, ',')
		b = number(b, s.End-s.Start, ';')
		at = s.End
	}
	return b
}

func number(b []byte, n int64, end byte) []byte {
	return append(strconv.AppendInt(b, n, base), end)
}

// Parse reads a commit. Empty metadata, as other tools commit it, is a plain
// watermark: nothing above it is done, and anything may have been handed out.
func Parse(offset int64, metadata string) (Mark, error) {
	m := Mark{Low: offset, Journal: -1, Limit: offset}
	if metadata == "" {
		m.Limit, m.Tried = Unlimited, Unlimited
		return m, nil
	}
	rest, ok := strings.CutPrefix(metadata, version)
	old := false
	if !ok {
		rest, ok = strings.CutPrefix(metadata, former)
		old = ok
	}
	if !ok || offset < 0 || len(metadata) > MaxBytes {
		return Mark{}, ErrMetadata
	}
	next := func(end string) int64 {
		digits, tail, found := strings.Cut(rest, end)
		n, err := strconv.ParseUint(digits, base, 62)
		ok = ok && found && err == nil
		rest = tail
		return int64(n)
	}
	m.Journal = next(";") - 1
	m.Limit = offset + next(";")
	m.Tried = m.Limit
	if !old {
		m.Tried = offset + next(";")
	}
	ok = ok && m.Limit >= offset && m.Tried >= offset && m.Tried <= m.Limit
	for at := offset; ok && rest != ""; {
		start := at + next(",")
		end := start + next(";")
		ok = ok && start > at && end > start
		m.Done = append(m.Done, Span{Start: start, End: end})
		at = end
	}
	if !ok {
		return Mark{}, fmt.Errorf("at offset %d: %w", offset, ErrMetadata)
	}
	return m, nil
}

// Unlimited is the Limit of a commit that promises nothing.
const Unlimited = int64(1) << 62

// Ahead is how far beyond the highest record handed out a consumer's commits
// set their Limit.
const Ahead = 8192

// Spare is how many records beyond the highest one tried may be tried without
// another commit. Of those in flight after a crash, so many may bear a doubt
// that they do not deserve.
const Spare = 256

// InFlight is how many records were handed out and not done when the mark was
// committed with a Limit of [Ahead]; end is that of the partition. After a
// change of owner it counts what the one before had in flight until that is
// handed out again.
func (m Mark) InFlight(end int64) int64 {
	if m.Limit >= Unlimited {
		return 0
	}
	return max(0, min(m.Limit-Ahead, end)-m.Low-m.Count())
}
