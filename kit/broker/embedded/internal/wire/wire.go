// Package wire speaks the framing of the Kafka protocol to strangers: frames
// of a bounded size, request headers of both kinds, ApiVersions, and one
// handler per kind of request. What a client sends can end its connection and
// nothing else: memory follows what arrived, not what was announced, and
// whatever is not understood cuts the line.
package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// smallFrame bounds requests that carry no records: decoding takes a multiple
// of what arrives.
const smallFrame = 128 << 10

// errFrame ends a connection; what was wrong is in the text around it.
var errFrame = errors.New("request is not of the Kafka protocol")

// Request is one request, whole but for its header.
type Request struct {
	// Version is one that the API serves.
	Version int16
	// ClientID is what the client calls itself, for logs of a member.
	ClientID string
	// Remote is where the client connects from.
	Remote string
	// Inside says that the client is of this very process, and ends with it;
	// false when that is not known.
	Inside bool
	// Host and Port are how the client reached the broker.
	Host string
	// Port belongs to Host.
	Port int32
	// Body is the request itself, good until it is answered.
	Body []byte
	// Grow makes room for n more bytes in an answer, from the server's own
	// stock where they are many.
	Grow func(b []byte, n int) []byte

	key int16
}

// API serves one kind of request.
type API struct {
	// Min and Max are the versions served.
	Min, Max int16
	// MaxBytes bounds a request; zero means what suits requests without
	// records.
	MaxBytes int
	// Waits says that an answer may be long in coming and that the context
	// should end when the client goes away meanwhile.
	Waits bool
	// Handle appends the answer to dst and returns it, or nil for none. An
	// error cuts the connection.
	Handle func(ctx context.Context, r *Request, dst []byte) ([]byte, error)

	flexible int16 // first version with tagged fields (KIP-482)
}

// Typed makes an API of a function from request to response, which is never
// nil.
func Typed[Q kmsg.Request, S kmsg.Response](from, to int16, do func(ctx context.Context, r *Request, q Q) S) API {
	return API{Min: from, Max: to, Handle: func(ctx context.Context, r *Request, dst []byte) ([]byte, error) {
		q, ok := kmsg.RequestForKey(r.key).(Q)
		if !ok {
			return nil, fmt.Errorf("%w: key %d is served as another", errFrame, r.key)
		}
		q.SetVersion(r.Version)
		if err := q.ReadFrom(r.Body); err != nil {
			return nil, fmt.Errorf("%w: key %d version %d: %w", errFrame, r.key, r.Version, err)
		}
		res := do(ctx, r, q)
		res.SetVersion(r.Version)
		if res.IsFlexible() {
			dst = append(dst, 0) // no tags
		}
		return res.AppendTo(dst), nil
	}}
}

// Waiting marks an API as one whose answer may be long in coming.
func (a API) Waiting() API {
	a.Waits = true
	return a
}

// table is the APIs by key, ApiVersions among them.
type table map[int16]API

func newTable(apis map[int16]API) table {
	t := table(maps.Clone(apis))
	versions := API{Min: 0, Max: 3}
	versions.Handle = func(_ context.Context, r *Request, dst []byte) ([]byte, error) {
		return t.versions(dst, r.Version, 0), nil
	}
	t[versionsKey] = versions
	for key, a := range t {
		if a.MaxBytes == 0 {
			a.MaxBytes = smallFrame
		}
		a.flexible = a.Max + 1
		for v := a.Max; v >= a.Min; v-- {
			req := kmsg.RequestForKey(key)
			if req.SetVersion(v); req.IsFlexible() {
				a.flexible = v
			}
		}
		t[key] = a
	}
	return t
}

const versionsKey = int16(kmsg.ApiVersions)

// versions appends what the table serves. Its response header never has tags
// (KIP-511).
func (t table) versions(dst []byte, version, code int16) []byte {
	res := kmsg.NewPtrApiVersionsResponse()
	res.Version, res.ErrorCode = version, code
	for _, key := range slices.Sorted(maps.Keys(t)) {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = key, t[key].Min, t[key].Max
		res.ApiKeys = append(res.ApiKeys, k)
	}
	return res.AppendTo(dst)
}

// head is the beginning of a frame: size, key, version, correlation id.
const headBytes = 12

// open checks a frame's head against the table: how much follows, and by what
// it is served.
func (t table) open(head []byte) (a API, r Request, rest int, err error) {
	size := binary.BigEndian.Uint32(head)
	r.key = int16(binary.BigEndian.Uint16(head[4:]))
	r.Version = int16(binary.BigEndian.Uint16(head[6:]))
	a, ok := t[r.key]
	switch {
	case !ok:
		return a, r, 0, fmt.Errorf("%w: unknown key %d", errFrame, r.key)
	case int64(size) > int64(a.MaxBytes):
		return a, r, 0, fmt.Errorf("%w: key %d with %d bytes", errFrame, r.key, size)
	case r.key != versionsKey && (r.Version < a.Min || r.Version > a.Max):
		return a, r, 0, fmt.Errorf("%w: key %d version %d is not served", errFrame, r.key, r.Version)
	}
	return a, r, int(size) - (headBytes - 4), nil
}

// body reads what is left of the header from a frame's rest.
func (a API) body(r *Request, rest []byte) error {
	short := fmt.Errorf("%w: key %d with a short header", errFrame, r.key)
	if len(rest) < 2 {
		return short
	}
	n := int(int16(binary.BigEndian.Uint16(rest)))
	rest = rest[2:]
	if n > len(rest) {
		return short
	}
	if n > 0 {
		r.ClientID, rest = string(rest[:n]), rest[n:]
	}
	if r.Version >= a.flexible {
		var ok bool
		if rest, ok = skipTags(rest); !ok {
			return short
		}
	}
	r.Body = rest
	return nil
}

// skipTags skips a section of tagged fields (KIP-482).
func skipTags(b []byte) (rest []byte, ok bool) {
	count, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, false
	}
	b = b[n:]
	for ; count > 0; count-- {
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, false
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, false
		}
		b = b[n+int(size):]
	}
	return b, true
}
