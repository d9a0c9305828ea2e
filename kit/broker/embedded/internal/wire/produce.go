package wire

import (
	"encoding/binary"
	"fmt"
)

// ProduceMin and ProduceMax are the versions of Produce that are read and
// written here: without tagged fields, and with format 2 alone.
const (
	ProduceMin = 3
	ProduceMax = 8
)

// mostBatches bounds the partitions of one request.
const mostBatches = 4096

// Produce is a request to append batches. It is read by hand: a batch stays
// where it arrived.
type Produce struct {
	// Acks is 0 for no answer, 1 or -1 for one.
	Acks int16
	// Transactional says that the producer wants a transaction.
	Transactional bool
	// Batches in the order of the request.
	Batches []Batch
}

// Batch is what one partition gets, and then what became of it.
type Batch struct {
	// Topic it goes to.
	Topic string
	// Partition of the topic.
	Partition int32
	// Records are a record batch, within the request's body.
	Records []byte

	// Code is the error, zero for none.
	Code int16
	// Base is the offset of the first record, -1 with an error.
	Base int64
	// Start is the first offset of the log.
	Start int64
}

// fields reads primitive fields; after the first that is not there all are
// zero and bad is set.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if n < 0 || n > len(f.b) {
		f.b, f.bad = nil, true
		return nil
	}
	b := f.b[:n:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) int16() int16 {
	if b := f.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (f *fields) int32() int32 {
	if b := f.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// Parse reads a request body of a version from [ProduceMin] to [ProduceMax].
func (p *Produce) Parse(body []byte) error {
	f := fields{b: body}
	if n := f.int16(); n >= 0 { // transactional id
		f.take(int(n))
		p.Transactional = true
	}
	p.Acks = f.int16()
	f.int32() // the time a cluster may take
	for topics := f.int32(); topics > 0 && !f.bad; topics-- {
		topic := string(f.take(int(f.int16())))
		for parts := f.int32(); parts > 0 && !f.bad; parts-- {
			b := Batch{Topic: topic, Partition: f.int32(), Base: -1, Start: -1}
			if size := f.int32(); size > 0 {
				b.Records = f.take(int(size))
			}
			if p.Batches = append(p.Batches, b); len(p.Batches) > mostBatches {
				f.bad = true
			}
		}
	}
	if f.bad || len(f.b) > 0 {
		return fmt.Errorf("%w: produce", errFrame)
	}
	return nil
}

// AppendTo appends the response.
func (p *Produce) AppendTo(dst []byte, version int16) []byte {
	be := binary.BigEndian
	topicsAt := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	topics, partsAt, parts := 0, 0, 0
	for i := range p.Batches {
		b := &p.Batches[i]
		if i == 0 || b.Topic != p.Batches[i-1].Topic {
			topics, parts = topics+1, 0
			dst = be.AppendUint16(dst, uint16(len(b.Topic)))
			dst = append(dst, b.Topic...)
			partsAt = len(dst)
			dst = append(dst, 0, 0, 0, 0)
		}
		parts++
		be.PutUint32(dst[partsAt:], uint32(parts))
		dst = be.AppendUint32(dst, uint32(b.Partition))
		dst = be.AppendUint16(dst, uint16(b.Code))
		dst = be.AppendUint64(dst, uint64(b.Base))
		dst = be.AppendUint64(dst, ^uint64(0)) // the broker sets no times
		if version >= 5 {
			dst = be.AppendUint64(dst, uint64(b.Start))
		}
		if version >= 8 {
			dst = be.AppendUint32(dst, 0)          // no errors of single records
			dst = be.AppendUint16(dst, ^uint16(0)) // no message
		}
	}
	be.PutUint32(dst[topicsAt:], uint32(topics))
	return be.AppendUint32(dst, 0) // not throttled
}
