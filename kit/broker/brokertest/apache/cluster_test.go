package apache_test

import (
	"flag"
	"os"
	"testing"

	"github.com/segmentio/kafka-go"

	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/broker/brokertest/apache"
)

// TestMain runs the tests of three brokers on Apache Kafka alone.
func TestMain(m *testing.M) {
	flag.Parse()
	if !brokertest.Apache() {
		_, _ = os.Stdout.WriteString("these tests are of Apache Kafka: -broker=apache runs them\n")
		return
	}
	os.Exit(m.Run())
}

// three starts a cluster of three that lives as long as the test.
func three(t *testing.T) *apache.Cluster {
	t.Helper()
	return brokertest.StartApache(t, apache.Options{Nodes: 3})
}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCluster(t *testing.T) {
	c := three(t)
	client := &kafka.Client{Addr: kafka.TCP(c.Addrs()...)}
	res, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "t", NumPartitions: 1, ReplicationFactor: 3}}})
	if err != nil || res.Errors["t"] != nil {
		t.Fatal(err, res)
	}
	check(t, c.InSync(t.Context(), "t", 0, 3))
	for _, to := range c.Nodes() {
		check(t, c.MoveLeader(t.Context(), "t", 0, to))
		if got := must[int](t)(c.Leader(t.Context(), "t", 0)); got != to {
			t.Errorf("Leader() = %d, want %d", got, to)
		}
	}
	c.Kill(3)
	if got := must[int](t)(c.Leader(t.Context(), "t", 0)); got == 3 {
		t.Errorf("Leader() = %d, which is dead", got)
	}
	if got := must[int](t)(c.Coordinator(t.Context(), "g")); got == 3 {
		t.Errorf("Coordinator() = %d, which is dead", got)
	}
	check(t, c.Begin(t.Context(), 3))
	check(t, c.InSync(t.Context(), "t", 0, 3))
}
