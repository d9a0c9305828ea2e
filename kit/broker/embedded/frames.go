package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker"
)

// maxFrame is the largest request: a batch and what is around it.
const maxFrame = 4 * broker.MaxBatchBytes

// errFrame ends a connection whose requests would crash the broker.
var errFrame = errors.New("request frame is not of the Kafka protocol")

// frames reads Kafka request frames and stops at the first that kfake would
// die of: it allocates whatever length a frame claims to have, and a request
// with a key it does not know is a nil dereference.
type frames struct {
	net.Conn
	log  *slog.Logger
	head [8]byte // length, key, version
	held []byte  // of head, checked and not yet read by the caller
	left int     // bytes of the frame after head
}

// Read implements net.Conn.
func (f *frames) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case len(f.held) > 0:
		n := copy(p, f.held)
		f.held = f.held[n:]
		return n, nil
	case f.left > 0:
		n, err := f.Conn.Read(p[:min(len(p), f.left)])
		f.left -= n
		return n, err
	}
	if _, err := io.ReadFull(f.Conn, f.head[:]); err != nil {
		return 0, err
	}
	size := binary.BigEndian.Uint32(f.head[:4])
	key := int16(binary.BigEndian.Uint16(f.head[4:6]))
	if size < 8 || size > maxFrame || kmsg.RequestForKey(key) == nil {
		f.log.WarnContext(context.Background(), "connection cut for a bad request frame", //nolint:forbidigo // a reader has none
			slog.Uint64("bytes", uint64(size)), slog.Int("api_key", int(key)))
		return 0, errFrame
	}
	f.left = int(size) - 4
	f.held = f.head[:]
	return f.Read(p)
}
