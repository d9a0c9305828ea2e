package broker_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/conf"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/telemetry"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// cluster is a cluster of three over TCP, with a topic, and a client of it.
func cluster(t *testing.T, change func(*broker.Config), opts ...kfake.Opt) (*kfake.Cluster, *broker.Client, *broker.Producer) {
	t.Helper()
	opts = append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(6, "t")}, opts...)
	k, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	cfg := broker.Default()
	cfg.Addrs = k.ListenAddrs()
	if change != nil {
		change(&cfg)
	}
	c, err := broker.Dial(cfg, telemetry.Discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	p := broker.NewProducer(c, telemetry.Discard())
	t.Cleanup(func() { _ = p.Part().Stop(t.Context()) })
	return k, c, p
}

func TestClusterProduce(t *testing.T) {
	t.Parallel()
	_, c, p := cluster(t, nil)
	for partition := range 6 {
		brokertest.Fill(t, p, "t", partition, 20)
		brokertest.Expect(t, c, "t", partition, 20)
	}
}

func TestClusterLeaderMoves(t *testing.T) {
	t.Parallel()
	k, c, p := cluster(t, nil)
	brokertest.Fill(t, p, "t", 2, 1)
	for node := range int32(3) {
		if err := k.MoveTopicPartition("t", 2, node); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Produce(t.Context(), brokertest.Message("t", 2, 1)); err != nil {
			t.Fatalf("Produce() after the leader moved = %v", err)
		}
	}
	brokertest.Expect(t, c, "t", 2, 4)
}

func TestClusterFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		err   *kerr.Error
		count int
		kind  fault.Kind
		ok    bool
	}{
		{"passing", kerr.NotEnoughReplicas, 3, 0, true},
		{"leader unknown", kerr.LeaderNotAvailable, 2, 0, true},
		{"lasting", kerr.NotEnoughReplicas, -1, fault.Unavailable, false},
		{"denied", kerr.TopicAuthorizationFailed, -1, fault.Unavailable, false},
		{"too large for the broker", kerr.MessageTooLarge, -1, fault.Invalid, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k, _, p := cluster(t, func(cfg *broker.Config) {
				if !tt.ok {
					cfg.ProduceTimeout = 300 * time.Millisecond
				}
			})
			k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: tt.err, Count: tt.count})
			_, err := p.Produce(t.Context(), brokertest.Message("t", 0, 1))
			if tt.ok {
				if err != nil {
					t.Errorf("Produce() = %v, want nil", err)
				}
				return
			}
			if !errors.Is(err, tt.kind) {
				t.Errorf("Produce() = %v, want %v", err, tt.kind)
			}
			if fe := fault.From(err); tt.kind == fault.Unavailable &&
				(fe.Reason != faultv1.Reason_REASON_BROKER_UNAVAILABLE || fe.RetryAfter <= 0) {
				t.Errorf("Produce() = %v, want REASON_BROKER_UNAVAILABLE with RetryAfter", fe)
			}
		})
	}
}

// A broker that takes less than we batch gets smaller batches.
func TestClusterSmallBatches(t *testing.T) {
	t.Parallel()
	_, c, p := cluster(t, nil, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "700"}))
	brokertest.Fill(t, p, "t", 0, 300)
	ends, err := c.Ends(t.Context(), "t", 1)
	if err != nil || ends[0].Last != 300 {
		t.Errorf("log end = %v, %v, want 300", ends[0], err)
	}
}

func TestClusterLogin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ mechanism, kafka, password string }{
		{"plain", "PLAIN", "secret"},
		{"scram-sha-256", "SCRAM-SHA-256", "secret"},
		{"scram-sha-512", "SCRAM-SHA-512", "secret"},
		{"scram-sha-256", "SCRAM-SHA-256", "wrong"},
	} {
		t.Run(tt.mechanism+"/"+tt.password, func(t *testing.T) {
			t.Parallel()
			_, c, p := cluster(t, func(cfg *broker.Config) {
				cfg.ProduceTimeout = time.Second
				cfg.SASL = broker.SASL{Mechanism: tt.mechanism, User: "kurir", Password: conf.Secret(tt.password)}
			}, kfake.EnableSASL(), kfake.Superuser(tt.kafka, "kurir", "secret"))
			_, err := p.Produce(t.Context(), brokertest.Message("t", 0, 1))
			if want := tt.password == "secret"; (err == nil) != want {
				t.Errorf("Produce() = %v, want ok %v", err, want)
			}
			if err := c.Ping(t.Context()); (err == nil) != (tt.password == "secret") {
				t.Errorf("Ping() = %v with password %q", err, tt.password)
			}
		})
	}
}

func TestClusterTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate, good for 127.0.0.1
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		tls broker.TLS
		ok  bool
	}{
		"trusted":   {broker.TLS{Enable: true, CA: ca}, true},
		"untrusted": {broker.TLS{Enable: true}, false},
		"plain":     {broker.TLS{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, p := cluster(t, func(cfg *broker.Config) { cfg.TLS, cfg.ProduceTimeout = tt.tls, 500*time.Millisecond },
				kfake.TLS(&tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12}))
			if _, err := p.Produce(t.Context(), brokertest.Message("t", 0, 1)); (err == nil) != tt.ok {
				t.Errorf("Produce() = %v, want ok %v", err, tt.ok)
			}
		})
	}
	for name, files := range map[string]broker.TLS{
		"missing CA": {Enable: true, CA: ca + ".not"}, "empty CA": {Enable: true, CA: os.DevNull},
		"missing certificate": {Enable: true, Cert: ca + ".not", Key: ca},
	} {
		cfg := broker.Default()
		cfg.Addrs, cfg.TLS = []string{"127.0.0.1:1"}, files
		if _, err := broker.Dial(cfg, telemetry.Discard()); err == nil {
			t.Errorf("%s: Dial() = nil, want an error", name)
		}
	}
}
