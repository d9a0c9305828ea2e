package hit

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// NewID names a hit: a UUIDv7 (RFC 9562 §5.7), so that ids sort by time and
// nobody guesses another's. It stands in the event and in the kurir_click
// parameter of the page a link leads to.
func NewID(at time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(max(at.UnixMilli(), 0))<<16)
	var tail [10]byte
	_, _ = rand.Read(tail[:]) // never fails: crypto/rand ends the process instead
	copy(b[6:], tail[:])
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
