package brokertest

import (
	"encoding/binary"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/broker"
)

// Message makes the n-th test record of a partition.
func Message(topic string, partition, n int) broker.Message {
	return broker.Message{
		Topic: topic, Partition: partition, Key: []byte("key-" + strconv.Itoa(n)), Value: binary.BigEndian.AppendUint64(nil, uint64(n)),
		Headers: []broker.Header{{Key: "n", Value: []byte(strconv.Itoa(n))}},
	}
}

// Fill produces n records and waits until all are acknowledged.
func Fill(tb testing.TB, p *broker.Producer, topic string, partition, n int) {
	tb.Helper()
	errs := make(chan error, n)
	for i := range n {
		if err := p.Enqueue(Message(topic, partition, i), func(_ broker.Position, err error) { errs <- err }); err != nil {
			tb.Fatalf("Enqueue() = %v", err)
		}
	}
	for range n {
		if err := <-errs; err != nil {
			tb.Fatalf("record of %s was not acknowledged: %v", topic, err)
		}
	}
}

// Expect checks that the partition holds n readable records.
func Expect(tb testing.TB, c *broker.Client, topic string, partition, n int) {
	tb.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.Bootstrap(), Dialer: c.Dialer(), Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond,
	})
	defer r.Close()
	for i := range n {
		m, err := r.ReadMessage(tb.Context())
		if err != nil || m.Offset != int64(i) {
			tb.Fatalf("record %d of %s: offset %d, %v", i, topic, m.Offset, err)
		}
	}
	parts, err := c.Partitions(tb.Context(), topic)
	if err != nil {
		tb.Fatal(err)
	}
	ends, err := c.Ends(tb.Context(), topic, parts)
	if err != nil || ends[partition].Last != int64(n) {
		tb.Fatalf("%s-%d ends at %d, %v, want %d", topic, partition, ends[partition].Last, err, n)
	}
}

// Eventually polls until the test's own deadline.
func Eventually(tb testing.TB, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-tb.Context().Done():
			tb.Fatal("never came true")
		}
	}
}

// Commit writes a group's offset and metadata of one partition, as soon as the
// group has a coordinator.
func Commit(tb testing.TB, c *broker.Client, group, topic string, partition int, offset int64, meta string) {
	tb.Helper()
	Eventually(tb, func() bool {
		res, err := c.Kafka().OffsetCommit(tb.Context(), &kafka.OffsetCommitRequest{
			GroupID: group, GenerationID: -1,
			Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: partition, Offset: offset, Metadata: meta}}},
		})
		if err == nil {
			err = res.Topics[topic][0].Error
		}
		if err != nil && !errors.Is(err, kafka.NotCoordinatorForGroup) && !errors.Is(err, kafka.GroupLoadInProgress) {
			tb.Fatalf("OffsetCommit(%s, %d) = %v", topic, offset, err)
		}
		return err == nil
	})
}

// Committed reads what [Commit] wrote.
func Committed(tb testing.TB, c *broker.Client, group, topic string, partition int) (int64, string) {
	tb.Helper()
	res, err := c.Kafka().OffsetFetch(tb.Context(), &kafka.OffsetFetchRequest{
		GroupID: group, Topics: map[string][]int{topic: {partition}},
	})
	if err != nil {
		tb.Fatalf("OffsetFetch(%s) = %v", topic, err)
	}
	p := res.Topics[topic][0]
	return p.CommittedOffset, p.Metadata
}
