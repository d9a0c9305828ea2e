package embedded_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/broker/embedded"
	"kurir.dev/kit/fault"
)

// caller sends requests that the client library cannot, over the port.
type caller struct {
	tb   testing.TB
	conn net.Conn
}

func withPort(cfg *embedded.Config) { cfg.TCP = "127.0.0.1:0" }

func call(tb testing.TB, b *brokertest.Broker) caller {
	tb.Helper()
	c, err := new(net.Dialer).DialContext(tb.Context(), "tcp", b.Embedded().TCPAddr())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return caller{tb, c}
}

func ask[S kmsg.Response](c caller, req kmsg.Request, version int16) S {
	c.tb.Helper()
	req.SetVersion(version)
	if _, err := c.conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
		c.tb.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		c.tb.Fatalf("%T: no answer: %v", req, err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.conn, body); err != nil {
		c.tb.Fatal(err)
	}
	res := req.ResponseKind()
	body = body[4:]
	if res.IsFlexible() {
		body = body[1:]
	}
	if err := res.ReadFrom(body); err != nil {
		c.tb.Fatalf("%T: %v", res, err)
	}
	return res.(S)
}

func deleteRecords(c caller, topic string, partition int32, offset int64) (int64, int16) {
	q := kmsg.NewPtrDeleteRecordsRequest()
	q.Topics = []kmsg.DeleteRecordsRequestTopic{{
		Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}},
	}}
	p := ask[*kmsg.DeleteRecordsResponse](c, q, 2).Topics[0].Partitions[0]
	return p.LowWatermark, p.ErrorCode
}

func TestDeleteRecords(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, withPort)
	c := b.Client(nil, "otp")
	brokertest.Fill(t, b.Producer(c), "kurir.lane.otp", 0, 20)
	port := call(t, b)
	for _, tt := range []struct {
		partition int32
		offset    int64
		low       int64
		code      int16
	}{{0, 5, 5, 0}, {0, 3, 5, 0}, {0, 21, 5, 1}, {99, 1, -1, 3}, {0, 8, 8, 0}} {
		if low, code := deleteRecords(port, "kurir.lane.otp", tt.partition, tt.offset); low != tt.low || code != tt.code {
			t.Errorf("DeleteRecords(%d, %d) = %d, code %d, want %d, %d", tt.partition, tt.offset, low, code, tt.low, tt.code)
		}
	}
	bounds := func(step string, want broker.Bounds) {
		t.Helper()
		ends, err := b.Client(nil).Ends(t.Context(), "kurir.lane.otp", 1)
		if err != nil || ends[0] != want {
			t.Errorf("%s: Ends() = %v, %v, want %v", step, ends[0], err, want)
		}
	}
	bounds("deleted", broker.Bounds{First: 8, Last: 20})
	b.Stop()
	b.Start()
	bounds("restarted", broker.Bounds{First: 8, Last: 20})
	if low, code := deleteRecords(call(t, b), "kurir.lane.otp", 0, -1); low != 20 || code != 0 {
		t.Errorf("DeleteRecords(all) = %d, code %d", low, code)
	}
	b.Stop()
	b.Start()
	bounds("all deleted", broker.Bounds{First: 20, Last: 20})
}

// A fetch over several partitions waits until one of them has something, and
// keeps to its sizes.
func TestFetchWaits(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, withPort)
	c := b.Client(nil, "otp")
	p := b.Producer(c)
	q := kmsg.NewPtrFetchRequest()
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.SessionEpoch = 60_000, 1, 1<<20, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "kurir.lane.otp"
	for i := range int32(3) {
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.PartitionMaxBytes = i, 1<<20
		topic.Partitions = append(topic.Partitions, part)
	}
	q.Topics = append(q.Topics, topic)

	port := call(t, b)
	q.SetVersion(11)
	if _, err := port.conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, q, 1)); err != nil {
		t.Fatal(err)
	}
	brokertest.Fill(t, p, "kurir.lane.otp", 2, 1)
	var size [4]byte
	if _, err := io.ReadFull(port.conn, size[:]); err != nil { // or the test's own deadline
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(port.conn, body); err != nil {
		t.Fatal(err)
	}
	res := kmsg.NewPtrFetchResponse()
	res.SetVersion(11)
	if err := res.ReadFrom(body[4:]); err != nil {
		t.Fatal(err)
	}
	for _, got := range res.Topics[0].Partitions {
		if want := got.Partition == 2; len(got.RecordBatches) > 0 != want || got.HighWatermark > 0 != want || got.ErrorCode != 0 {
			t.Errorf("partition %d: %d bytes, high watermark %d, code %d", got.Partition, len(got.RecordBatches), got.HighWatermark, got.ErrorCode)
		}
	}

	brokertest.Fill(t, p, "kurir.lane.otp", 0, 1)
	q.MaxBytes = 1 // only the first batch of all is owed
	sizes := []bool{true, false, false}
	for i, got := range ask[*kmsg.FetchResponse](port, q, 4).Topics[0].Partitions {
		if len(got.RecordBatches) > 0 != sizes[i] {
			t.Errorf("partition %d: %d bytes of an answer of one", i, len(got.RecordBatches))
		}
	}
	q.Topics[0].Partitions[0].FetchOffset = 99
	if code := ask[*kmsg.FetchResponse](port, q, 11).Topics[0].Partitions[0].ErrorCode; code != 1 {
		t.Errorf("fetch beyond the log: code %d, want 1", code)
	}
	q.SessionID, q.SessionEpoch = 7, 3
	if code := ask[*kmsg.FetchResponse](port, q, 11).ErrorCode; code != 70 {
		t.Errorf("fetch in a session: code %d, want 70", code)
	}
}

func TestTopicsAPI(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, nil)
	k := b.Client(nil).Kafka()
	for _, tt := range []struct {
		name   string
		config kafka.TopicConfig
		want   error
	}{
		{"plain", kafka.TopicConfig{Topic: "t", NumPartitions: 2, ReplicationFactor: 1}, nil},
		{"again", kafka.TopicConfig{Topic: "t", NumPartitions: 2, ReplicationFactor: 1}, kafka.TopicAlreadyExists},
		{"path", kafka.TopicConfig{Topic: "../t", NumPartitions: 1, ReplicationFactor: 1}, kafka.InvalidTopic},
		{"dots", kafka.TopicConfig{Topic: "..", NumPartitions: 1, ReplicationFactor: 1}, kafka.InvalidTopic},
		{"no partitions", kafka.TopicConfig{Topic: "u", NumPartitions: 0, ReplicationFactor: 1}, kafka.InvalidPartitionNumber},
		{"too many partitions", kafka.TopicConfig{Topic: "u", NumPartitions: 1 << 20, ReplicationFactor: 1}, kafka.InvalidPartitionNumber},
		{"replicas", kafka.TopicConfig{Topic: "u", NumPartitions: 1, ReplicationFactor: 3}, kafka.InvalidReplicationFactor},
		{"compacted", kafka.TopicConfig{Topic: "u", NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{
			{ConfigName: "cleanup.policy", ConfigValue: "compact"},
		}}, kafka.InvalidConfiguration},
		{"unknown setting", kafka.TopicConfig{Topic: "u", NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{
			{ConfigName: "no.such", ConfigValue: "1"},
		}}, kafka.InvalidConfiguration},
	} {
		res, err := k.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{tt.config}})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Errors[tt.config.Topic]; !errors.Is(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("CreateTopics(%s) = %v, want %v", tt.name, got, tt.want)
		}
	}
	extend := func(n int32) error {
		res, err := k.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: "t", Count: n}}})
		if err != nil {
			t.Fatal(err)
		}
		return res.Errors["t"]
	}
	if err := errors.Join(extend(5)); err != nil || !errors.Is(extend(4), kafka.InvalidPartitionNumber) {
		t.Errorf("CreatePartitions() = %v for more, want nil, and an error for fewer", err)
	}
	alter := func(name, value string) error {
		res, err := k.IncrementalAlterConfigs(t.Context(), &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: "t",
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		return res.Resources[0].Error
	}
	if err := alter("max.message.bytes", "500"); err != nil {
		t.Errorf("IncrementalAlterConfigs() = %v", err)
	}
	for name, value := range map[string]string{"max.message.bytes": "x", "retention.ms": "5", "segment.bytes": "1048576"} {
		if err := alter(name, value); !errors.Is(err, kafka.InvalidConfiguration) {
			t.Errorf("IncrementalAlterConfigs(%s=%s) = %v, want InvalidConfiguration", name, value, err)
		}
	}

	b.Stop()
	b.Start() // all of it lasts
	c := b.Client(nil)
	k = c.Kafka()
	if n, err := c.Partitions(t.Context(), "t"); n != 5 || err != nil {
		t.Errorf("Partitions() = %d, %v, want 5", n, err)
	}
	described, err := k.DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: "t", ConfigNames: []string{"max.message.bytes", "cleanup.policy", "no.such"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, e := range described.Resources[0].ConfigEntries {
		got[e.ConfigName] = e.ConfigValue
	}
	if diff := cmp.Diff(map[string]string{"max.message.bytes": "500", "cleanup.policy": "delete"}, got); diff != "" {
		t.Errorf("DescribeConfigs() (-want +got):\n%s", diff)
	}
	big := brokertest.Message("t", 0, 1)
	big.Value = make([]byte, 600)
	if _, err := b.Producer(c).Produce(t.Context(), big); !errors.Is(err, fault.Invalid) {
		t.Errorf("Produce() of more than the topic takes = %v, want fault.Invalid", err)
	}
	brokertest.Commit(t, c, "g", "t", 0, 3, "")
	brokertest.Fill(t, b.Producer(c), "t", 0, 10)
	if _, err := k.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "t", NumPartitions: 1, ReplicationFactor: 1}}}); err != nil {
		t.Fatal(err)
	}
	if ends, err := c.Ends(t.Context(), "t", 1); err != nil || ends[0] != (broker.Bounds{}) {
		t.Errorf("a topic made again holds %v, %v, want nothing", ends[0], err)
	}
}

// A sync that failed takes its partition out of service, and only that.
func TestOffline(t *testing.T) {
	t.Parallel()
	var bad atomic.Bool
	var text bytes.Buffer
	cfg := embedded.Default()
	cfg.Dir, cfg.MinFreeBytes = t.TempDir(), 1
	cfg.Flush = func(f *os.File) error {
		if bad.Load() && strings.Contains(f.Name(), "/kurir.lane.otp/1/") {
			return syscall.EIO
		}
		return nil
	}
	e, err := embedded.Start(t.Context(), cfg, slog.New(slog.NewTextHandler(&text, nil)))
	if err != nil {
		t.Fatal(err)
	}
	b := outside(t, cfg.Dir)
	b.cfg.ProduceTimeout = 200 * time.Millisecond
	c := b.dial(t)
	if err := c.EnsureTopics(t.Context(), []string{"otp"}); err != nil {
		t.Fatal(err)
	}
	p := b.producer(t, c)
	brokertest.Fill(t, p, "kurir.lane.otp", 1, 5)
	offline := gauge(t, e, "kurir_embedded_offline_partitions")
	if got := offline(); got != 0 {
		t.Errorf("%d partitions are offline before a sync failed", got)
	}
	bad.Store(true)
	if _, err := p.Produce(t.Context(), brokertest.Message("kurir.lane.otp", 1, 1)); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Produce() = %v while syncs fail, want fault.Unavailable", err)
	}
	bad.Store(false)
	if _, err := p.Produce(t.Context(), brokertest.Message("kurir.lane.otp", 1, 1)); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Produce() = %v after a sync failed, want fault.Unavailable until a restart", err)
	}
	brokertest.Fill(t, p, "kurir.lane.otp", 0, 1)
	brokertest.Expect(t, c, "kurir.lane.otp", 1, 5)
	if got := offline(); got != 1 {
		t.Errorf("%d partitions are offline after a sync of one failed", got)
	}
	if p.Healthy() {
		t.Error("Healthy() with a partition that is offline = true")
	}
	if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "level=ERROR msg=\"sync to disk failed") {
		t.Errorf("log says nothing of the failed sync:\n%s", text.String())
	}
}

// gauge reads one of the broker's gauges.
func gauge(t *testing.T, e *embedded.Broker, name string) func() int64 {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	if err := e.Measure(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test")); err != nil {
		t.Fatal(err)
	}
	return func() int64 {
		t.Helper()
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		for _, scope := range all.ScopeMetrics {
			for _, m := range scope.Metrics {
				if g, ok := m.Data.(metricdata.Gauge[int64]); ok && m.Name == name {
					return g.DataPoints[0].Value
				}
			}
		}
		t.Fatalf("there is no gauge %s", name)
		return 0
	}
}

func TestPort(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:9092", ":9092", "192.0.2.1:9092", "[::]:9092", "example.org:9092", "127.0.0.1"} {
		_, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), TCP: addr}, slog.New(slog.DiscardHandler))
		if _, ok := errors.AsType[*embedded.AddrError](err); !ok {
			t.Errorf("Start() with TCP %q = %v, want *AddrError", addr, err)
		}
	}
	b := brokertest.New(t, nil)
	if addr := b.Embedded().TCPAddr(); addr != "" {
		t.Errorf("TCPAddr() = %q by default, want none", addr)
	}
}

// Strangers at the port cannot take the broker down, nor fill its memory.
func TestPortHostile(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t, withPort)
	c := b.Client(nil, "otp")
	garbage := bytes.Repeat([]byte{0, 0, 0, 40, 0, 3, 0, 9, 1, 2, 3, 0xff}, 500)
	for _, frame := range [][]byte{
		garbage, garbage[3:], []byte("GET / HTTP/1.0\r\n\r\n"),
		{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 8, 0, 0, 0, 1},
		{0, 0, 0, 10, 0x7f, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0},
		{0, 0, 0, 99, 0, 0},
		{0},
	} {
		port := call(t, b)
		_, _ = port.conn.Write(frame) // cut while it writes, as may be
		if err := port.conn.(*net.TCPConn).CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, port.conn); n > 0 {
			t.Errorf("frame %.20q is answered with %d bytes, %v", frame, n, err)
		}
	}
	brokertest.Fill(t, b.Producer(c), "kurir.lane.otp", 0, 1)
}

func TestOldFormat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "VERSION"), []byte("kurir-broker 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir}, slog.New(slog.DiscardHandler))
	if !errors.Is(err, embedded.ErrFormat) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Start() = %v, want ErrFormat and where", err)
	}
}

// The tool that operators use reads, writes and joins groups.
func TestKcat(t *testing.T) {
	t.Parallel()
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("kcat is not installed: %v", err)
		}
		t.Skip("kcat is not installed")
	}
	b := brokertest.New(t, withPort)
	c := b.Client(nil, "otp")
	brokertest.Fill(t, b.Producer(c), "kurir.lane.otp", 0, 10)
	run := func(in string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), kcat, append([]string{"-b", b.Embedded().TCPAddr()}, args...)...)
		cmd.Stdin = strings.NewReader(in)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Errorf("kcat %q: %v\n%s", args, err, errs.String())
		}
		return out.String()
	}
	if out := run("", "-L"); !strings.Contains(out, `topic "kurir.lane.otp" with 4 partitions`) {
		t.Errorf("kcat -L says\n%s", out)
	}
	if out := run("", "-C", "-t", "kurir.lane.otp", "-p", "0", "-e", "-q", "-f", "%k\n"); strings.Count(out, "key-") != 10 {
		t.Errorf("kcat -C reads\n%s", out)
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		run("one\ntwo\n", "-P", "-t", "kurir.lane.otp", "-p", "1", "-z", codec)
	}
	if out := run("", "-G", "reader", "-e", "-q", "-f", "%s\n", "-X", "auto.offset.reset=earliest", "kurir.lane.otp"); strings.Count(out, "two\n") != 5 {
		t.Errorf("kcat -G reads\n%s", out)
	}
	if out := run("", "-Q", "-t", "kurir.lane.otp:1:0"); !strings.Contains(out, "[1] offset 0") {
		t.Errorf("kcat -Q says %q", out)
	}
}
