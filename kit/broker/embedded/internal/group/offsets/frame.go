package offsets

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// magic begins the file; the digit is the format's version.
const magic = "kurirog1"

// headerLen is a frame's length and its checksum, four bytes each, big endian.
const headerLen = 8

// maxPayload bounds a frame: what a reader may trust a length with.
const maxPayload = 4 << 20

var (
	// errFrame says that no whole frame is there.
	errFrame = errors.New("damaged frame")
	// errKind says that a frame is whole, but of a kind that a later version
	// writes: nothing that may be cut off.
	errKind = errors.New("frame of an unknown kind")
)

// kind is what a frame records.
type kind byte

const (
	put       kind = 1 // a commit
	dropPart  kind = 2 // the commit of a partition is taken back
	dropGroup kind = 3
	dropTopic kind = 4
	ceiling   kind = 5 // no generation has been this high
	members   kind = 6 // of a group's last deal; none any more when it is empty
)

// record is one change of the state.
type record struct {
	kind   kind
	key    Key // put, dropPart; the group of dropGroup and members, the topic of dropTopic
	commit Commit
	height int32  // ceiling
	deal   string // members
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// appendFrame encodes r behind b.
func appendFrame(b []byte, r record) []byte {
	start := len(b)
	b = append(b, make([]byte, headerLen)...)
	b = append(b, byte(r.kind))
	switch r.kind {
	case put:
		b = appendKey(b, r.key)
		b = binary.AppendVarint(b, r.commit.Offset)
		b = binary.AppendVarint(b, int64(r.commit.LeaderEpoch))
		b = binary.AppendVarint(b, r.commit.At)
		b = appendText(b, r.commit.Metadata)
	case dropPart:
		b = appendKey(b, r.key)
	case dropGroup:
		b = appendText(b, r.key.Group)
	case dropTopic:
		b = appendText(b, r.key.Topic)
	case ceiling:
		b = binary.AppendVarint(b, int64(r.height))
	case members:
		b = appendText(b, r.key.Group)
		b = appendText(b, r.deal)
	}
	payload := b[start+headerLen:]
	binary.BigEndian.PutUint32(b[start:], uint32(len(payload)))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(payload, castagnoli()))
	return b
}

func appendKey(b []byte, k Key) []byte {
	b = appendText(b, k.Group)
	b = appendText(b, k.Topic)
	return binary.AppendVarint(b, int64(k.Partition))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// payloadLen reads a frame's header.
func payloadLen(header []byte) (int, error) {
	n := binary.BigEndian.Uint32(header)
	if n == 0 || n > maxPayload {
		return 0, errFrame
	}
	return int(n), nil
}

// parseFrame decodes the payload that belongs to the header.
func parseFrame(header, payload []byte) (record, error) {
	if crc32.Checksum(payload, castagnoli()) != binary.BigEndian.Uint32(header[4:]) {
		return record{}, errFrame
	}
	p := parser{rest: payload[1:]}
	r := record{kind: kind(payload[0])}
	switch r.kind {
	case put:
		r.key = p.key()
		r.commit.Offset = p.varint()
		r.commit.LeaderEpoch = int32(p.varint())
		r.commit.At = p.varint()
		r.commit.Metadata = p.text()
	case dropPart:
		r.key = p.key()
	case dropGroup:
		r.key.Group = p.text()
	case dropTopic:
		r.key.Topic = p.text()
	case ceiling:
		r.height = int32(p.varint())
	case members:
		r.key.Group = p.text()
		r.deal = p.text()
	default:
		return record{}, errKind
	}
	if p.failed || len(p.rest) > 0 {
		return record{}, errFrame
	}
	return r, nil
}

// parser reads a payload; it fails once and for all.
type parser struct {
	rest   []byte
	failed bool
}

func (p *parser) varint() int64 {
	v, n := binary.Varint(p.rest)
	if n <= 0 {
		p.failed = true
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *parser) text() string {
	v, n := binary.Uvarint(p.rest)
	if n <= 0 || v > uint64(len(p.rest)-n) {
		p.failed = true
		return ""
	}
	s := string(p.rest[n : n+int(v)])
	p.rest = p.rest[n+int(v):]
	return s
}

func (p *parser) key() Key {
	return Key{Group: p.text(), Topic: p.text(), Partition: int32(p.varint())}
}
