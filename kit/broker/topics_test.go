package broker_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/custody/mark"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/topic"
)

func TestEnsureTopics(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil)
	if _, err := c.Kafka().CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: "kurir.lane.otp", NumPartitions: 7, ReplicationFactor: 1}},
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time all is there
		if err := c.EnsureTopics(t.Context(), []string{"otp", "bulk"}); err != nil {
			t.Fatalf("EnsureTopics() = %v", err)
		}
	}
	for name, want := range map[string]int{
		"kurir.lane.otp": 7, "kurir.outcome.otp": 7, "kurir.lane.bulk": 4, "kurir.outcome.bulk": 4,
		"kurir.deferred.otp": 4, "kurir.deferred.bulk": 4, "kurir.events": 4, "kurir.billing": 4, "kurir.control": 1, "kurir.dead": 4,
	} {
		if got, err := c.Partitions(t.Context(), name); err != nil || got != want {
			t.Errorf("Partitions(%q) = %d, %v, want %d", name, got, err, want)
		}
	}
	names, err := c.TopicNames(t.Context())
	if err != nil || !slices.Contains(names, "kurir.deferred.bulk") || slices.Contains(names, "kurir.deferred") {
		t.Errorf("TopicNames() = %q, %v, want a topic of deferred mail for each lane, and none for all", names, err)
	}
	res, err := c.Kafka().DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: "kurir.outcome.otp"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"retention.ms": "-1", "retention.bytes": "-1", "segment.bytes": "16777216", "cleanup.policy": "delete",
	}
	if brokertest.Apache() { // a cluster ages what nobody trims
		want["retention.ms"] = strconv.FormatInt(broker.Default().Retention.Milliseconds(), 10)
		want["min.insync.replicas"], want["max.message.bytes"] = "1", strconv.Itoa(broker.MaxBatchBytes)
	}
	for _, e := range res.Resources[0].ConfigEntries {
		if w, ok := want[e.ConfigName]; ok && e.ConfigValue != w {
			t.Errorf("%s = %q, want %q", e.ConfigName, e.ConfigValue, w)
		}
	}
}

func TestEnsureTopicsMismatch(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil)
	if _, err := c.Kafka().CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: "kurir.lane.otp", NumPartitions: 2, ReplicationFactor: 1},
		{Topic: "kurir.outcome.otp", NumPartitions: 3, ReplicationFactor: 1},
	}}); err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureTopics(t.Context(), []string{"otp"}); !errors.Is(err, fault.Precondition) {
		t.Errorf("EnsureTopics() with unequal partitions = %v, want fault.Precondition", err)
	}
}

// Lanes have a partition for each band, the other topics what is configured;
// those that were made with one are given their second, whichever of several
// processes comes first, or was stopped half way.
func TestEnsureTopicsBands(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(func(cfg *broker.Config) { cfg.Partitions = 1 })
	old := []kafka.TopicConfig{ // bulk is stopped half way
		{Topic: "kurir.lane.otp", NumPartitions: 1, ReplicationFactor: 1},
		{Topic: "kurir.outcome.otp", NumPartitions: 1, ReplicationFactor: 1},
		{Topic: "kurir.lane.bulk", NumPartitions: 1, ReplicationFactor: 1},
		{Topic: "kurir.outcome.bulk", NumPartitions: 2, ReplicationFactor: 1},
	}
	if _, err := c.Kafka().CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: old}); err != nil {
		t.Fatal(err)
	}
	p := b.Producer(c)
	was, err := p.PartitionOf("kurir.lane.otp", []byte("key-0"))
	if err != nil {
		t.Fatal(err)
	}
	brokertest.Fill(t, p, "kurir.lane.otp", was, 3)

	var starting sync.WaitGroup
	for range 5 {
		process := b.Client(func(cfg *broker.Config) { cfg.Partitions = 1 })
		starting.Go(func() {
			if err := process.EnsureTopics(t.Context(), []string{"otp", "billing", "bulk"}); err != nil {
				t.Errorf("EnsureTopics() = %v", err)
			}
			for name, want := range map[string]int{
				"kurir.lane.otp": 2, "kurir.outcome.otp": 2, "kurir.lane.billing": 2, "kurir.outcome.billing": 2,
				"kurir.lane.bulk": 2, "kurir.outcome.bulk": 2, "kurir.deferred.bulk": 1, "kurir.events": 1,
			} {
				if got, err := process.Partitions(t.Context(), name); err != nil || got != want {
					t.Errorf("Partitions(%q) = %d, %v, want %d", name, got, err, want)
				}
			}
		})
	}
	starting.Wait()
	now := b.Producer(b.Client(nil))
	if at, err := now.PartitionIn("kurir.lane.otp", []byte("key-0"), topic.Ordinary); err != nil || at != was {
		t.Errorf("a key of the time before lies in %d, and is looked for in %d, %v", was, at, err)
	}
	brokertest.Fill(t, now, "kurir.lane.otp", 1, 2)
	brokertest.Expect(t, c, "kurir.lane.otp", 0, 3)
}

func TestEnsureTopicsUnreachable(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil)
	b.Stop()
	err := c.EnsureTopics(t.Context(), []string{"otp"})
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "dial ") {
		t.Errorf("EnsureTopics() without a broker = %v, want fault.Unavailable and which address did not answer", err)
	}
}

func TestLag(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	c := b.Client(nil, "otp")
	p := b.Producer(c)
	brokertest.Fill(t, p, "kurir.lane.otp", 0, 10)
	brokertest.Fill(t, p, "kurir.lane.otp", 3, 5)
	check := func(step string, want int64) {
		t.Helper()
		lag, err := c.Lag(t.Context(), "g", "kurir.lane.otp", "kurir.lane.unknown")
		if err != nil {
			t.Fatalf("%s: Lag() = %v", step, err)
		}
		got := lag["kurir.lane.otp"]
		if got.Depth != want || got.Oldest.IsZero() != (want == 0) || len(lag) != 1 {
			t.Errorf("%s: Lag() = %+v, want depth %d", step, lag, want)
		}
	}
	check("untouched", 15)
	brokertest.Commit(t, c, "g", "kurir.lane.otp", 0, 4, "")
	check("watermark", 11)
	m := mark.Mark{Low: 4, Done: []mark.Span{{Start: 5, End: 8}}, Limit: 10}
	brokertest.Commit(t, c, "g", "kurir.lane.otp", 0, 4, m.Encode())
	check("done set", 8)
	brokertest.Commit(t, c, "g", "kurir.lane.otp", 0, 10, "")
	brokertest.Commit(t, c, "g", "kurir.lane.otp", 3, 5, "")
	check("all done", 0)
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*broker.Config)
		ok     bool
	}{
		{"default", func(*broker.Config) {}, true},
		{"unix", func(c *broker.Config) { c.Addrs = []string{"unix:/run/kafka.sock"} }, true},
		{"no address", func(c *broker.Config) { c.Addrs = nil }, false},
		{"two sockets", func(c *broker.Config) { c.Addrs = []string{"unix:/a", "unix:/b"} }, false},
		{"no port", func(c *broker.Config) { c.Addrs = []string{"kafka"} }, false},
		{"partitions", func(c *broker.Config) { c.Partitions = 0 }, false},
		{"short retention", func(c *broker.Config) { c.Retention = time.Hour }, false},
		{"kept for ever", func(c *broker.Config) { c.Retention = 0 }, true},
		{"timeout", func(c *broker.Config) { c.ProduceTimeout = 0 }, false},
		{"queue below a record", func(c *broker.Config) { c.QueueBytes = 10 }, false},
		{"sasl", func(c *broker.Config) { c.SASL.Mechanism = "kerberos" }, false},
		{"scram", func(c *broker.Config) { c.SASL.Mechanism = "scram-sha-512" }, true},
		{"key alone", func(c *broker.Config) { c.TLS.Key = "x" }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := broker.Default()
			c.Addrs = []string{"127.0.0.1:9092"}
			tt.change(&c)
			if err := c.Validate(); (err == nil) != tt.ok {
				t.Errorf("Validate() = %v, want ok %v", err, tt.ok)
			}
		})
	}
}
