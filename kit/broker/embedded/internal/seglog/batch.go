package seglog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Errors of batches.
var (
	// ErrCorrupt says that a batch is not what was once written.
	ErrCorrupt = errors.New("record batch is corrupt")
	// ErrInvalid says that a batch is whole but not one that a log may hold.
	ErrInvalid = errors.New("record batch is not valid")
)

// The header of a batch, by position. The checksum covers what follows it, so
// the offset and the epoch before it are the broker's to set.
const (
	atBase      = 0
	atLength    = 8
	atEpoch     = 12
	atMagic     = 16
	atSum       = 17
	atAttrs     = 21
	atLastDelta = 23
	atFirstTime = 27
	atMaxTime   = 35
	atCount     = 57
	headerSize  = 61

	// beforeLength is what the length does not count.
	beforeLength = atEpoch
)

// Bits of a batch's attributes.
const (
	attrCodec         = 0x07
	attrTransactional = 0x10
	attrControl       = 0x20
	lastCodec         = 4 // zstd
)

// header is what the log needs to know of a batch.
type header struct {
	base    int64 // offset of its first record
	end     int64 // offset after its last
	size    int64 // bytes, header and all
	maxTime int64 // latest timestamp of its records, milliseconds
}

// parse reads a header. False means that these bytes begin no batch: zeroes,
// or garbage.
func parse(b []byte) (header, bool) {
	if len(b) < headerSize || b[atMagic] != 2 {
		return header{}, false
	}
	h := header{
		base:    int64(binary.BigEndian.Uint64(b[atBase:])),
		size:    int64(int32(binary.BigEndian.Uint32(b[atLength:]))) + beforeLength,
		maxTime: int64(binary.BigEndian.Uint64(b[atMaxTime:])),
	}
	delta := int32(binary.BigEndian.Uint32(b[atLastDelta:]))
	h.end = h.base + int64(delta) + 1
	return h, h.base >= 0 && delta >= 0 && h.size >= headerSize
}

// sound tells whether the checksum of a whole batch is right.
func sound(batch []byte) bool {
	return crc32.Checksum(batch[atAttrs:], castagnoli()) == binary.BigEndian.Uint32(batch[atSum:])
}

// castagnoli is the table of CRC-32C; the standard library makes it once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Check says whether b is exactly one batch that a log can take: nil,
// [ErrCorrupt] or [ErrInvalid]. It looks at the header and the checksum, not
// at the records, which may be compressed.
func Check(b []byte) error {
	if len(b) < headerSize {
		return ErrCorrupt
	}
	h, ok := parse(b)
	switch {
	case !ok || h.size != int64(len(b)) || !sound(b):
		return ErrCorrupt
	case int64(int32(binary.BigEndian.Uint32(b[atCount:]))) != h.end-h.base:
		return ErrInvalid
	}
	attrs := binary.BigEndian.Uint16(b[atAttrs:])
	if attrs&attrCodec > lastCodec || attrs&(attrTransactional|attrControl) != 0 {
		return ErrInvalid
	}
	return nil
}

// place gives a batch its offset.
func place(batch []byte, base int64) {
	binary.BigEndian.PutUint64(batch[atBase:], uint64(base))
	binary.BigEndian.PutUint32(batch[atEpoch:], 0)
}

// offsetSince is the first record of a batch that is not older than the time:
// the first of all where they are compressed or cannot be read.
func offsetSince(batch []byte, h header, ms int64) moment {
	first := int64(binary.BigEndian.Uint64(batch[atFirstTime:]))
	whole := moment{h.base, first}
	if binary.BigEndian.Uint16(batch[atAttrs:])&attrCodec != 0 {
		return whole
	}
	for rest := batch[headerSize:]; len(rest) > 0; {
		size, n := binary.Varint(rest)
		if n <= 0 || size < 1 || size > int64(len(rest)-n) {
			return whole
		}
		record := rest[n+1 : n+int(size)] // after the attributes
		rest = rest[n+int(size):]
		since, n := binary.Varint(record)
		if n <= 0 {
			return whole
		}
		delta, m := binary.Varint(record[n:])
		if m <= 0 || delta < 0 || delta >= h.end-h.base {
			return whole
		}
		if first+since >= ms {
			return moment{h.base + delta, first + since}
		}
	}
	return whole
}
