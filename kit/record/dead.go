package record

import (
	"fmt"
	"strconv"
	"strings"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/custody"
)

// Headers that a dead record bears beside those it had.
const (
	HeaderDeadTopic     = "kurir-dead-topic"
	HeaderDeadPartition = "kurir-dead-partition"
	HeaderDeadOffset    = "kurir-dead-offset"
	HeaderDeadReason    = "kurir-dead-reason"

	deadPrefix = "kurir-dead-"
)

// Dead wraps a record that could not be decoded for the dead topic. Its value
// is sealed again as it was, for it may be a plain text that somebody
// produced by mistake; reason must not quote it.
func (c *Codec) Dead(r custody.Record, reason string) (broker.Message, error) {
	value, err := c.keys.Seal(r.Value, deadData(r.Topic, r.Partition, r.Offset))
	if err != nil {
		return broker.Message{}, fmt.Errorf("sealing dead record: %w", err)
	}
	headers := append([]broker.Header(nil), r.Headers...)
	headers = append(headers,
		header(HeaderDeadTopic, r.Topic),
		header(HeaderDeadPartition, strconv.Itoa(r.Partition)),
		header(HeaderDeadOffset, strconv.FormatInt(r.Offset, 10)),
		header(HeaderDeadReason, reason))
	return broker.Message{Topic: c.names.Dead(), Partition: -1, Key: r.Key, Value: value, Headers: headers}, nil
}

// OpenDead gives back the record that [Codec.Dead] wrapped, at the place it
// lay, for a replay. Its time is that of the dead record. The reason stands
// in the dead record's header. [ErrPoison] when it cannot be opened.
func (c *Codec) OpenDead(r custody.Record) (custody.Record, error) {
	partition, perr := strconv.Atoi(Header(r, HeaderDeadPartition))
	offset, oerr := strconv.ParseInt(Header(r, HeaderDeadOffset), 10, 64)
	if perr != nil || oerr != nil {
		return custody.Record{}, fmt.Errorf("dead record without its place: %w", ErrPoison)
	}
	was := custody.Record{
		Topic: Header(r, HeaderDeadTopic), Partition: partition, Offset: offset, Key: r.Key, Time: r.Time,
	}
	for _, h := range r.Headers {
		if !strings.HasPrefix(h.Key, deadPrefix) {
			was.Headers = append(was.Headers, h)
		}
	}
	value, err := c.keys.Open(r.Value, deadData(was.Topic, was.Partition, was.Offset))
	if err != nil {
		return custody.Record{}, fmt.Errorf("%w: %w", ErrPoison, err)
	}
	was.Value = value
	return was, nil
}

func deadData(topic string, partition int, offset int64) []byte {
	return fmt.Appendf(nil, "dead/%s/%d/%d", topic, partition, offset)
}
