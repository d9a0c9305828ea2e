package broker

import "encoding/binary"

// Header is a record header.
type Header struct {
	// Key names it.
	Key string
	// Value is its value, opaque.
	Value []byte
}

// Message is a record on its way to the broker. Its slices must not change
// until it is acknowledged.
type Message struct {
	// Topic it goes to.
	Topic string
	// Partition it goes to; negative means: the one its key hashes to.
	Partition int
	// Key of the record; empty for none.
	Key []byte
	// Value of the record.
	Value []byte
	// Headers of the record, in order.
	Headers []Header
}

// Position is where an acknowledged record lies.
type Position struct {
	// Partition of the topic.
	Partition int
	// Offset in the partition.
	Offset int64
}

// recordOverhead bounds what the record format adds to a record's parts.
const recordOverhead = 64

// size is how many bytes the message takes in a batch, at most.
func (m *Message) size() int {
	n := recordOverhead + len(m.Key) + len(m.Value)
	for i := range m.Headers {
		n += len(m.Headers[i].Key) + len(m.Headers[i].Value) + 10
	}
	return n
}

// partitionFor hashes a key to one of n partitions, as Kafka's Java client
// does. Records without a key all go to the first.
func partitionFor(key []byte, n int) int {
	if len(key) == 0 {
		return 0
	}
	return int(murmur2(key)&0x7fffffff) % n
}

// murmur2 is the 32-bit MurmurHash2 with the seed Kafka uses.
func murmur2(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
	)
	h := uint32(seed) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := binary.LittleEndian.Uint32(data) * m
		k = (k ^ k>>24) * m
		h = h*m ^ k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
